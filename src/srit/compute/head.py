"""The output head: hidden states to logits and to log-probabilities, in float32 whatever the model computes in.

A logit near 20 that is rounded to bfloat16 lies on a grid of 0.125: an answer of thirty tokens is then off by half a
nat, and the likeliest token is often a tie. Products of bfloat16 numbers are exact in float32, so only the sums need
its room, and units for bfloat16 give it at no cost.

Families of models scale or cap what their head gives before they call it logits. Which of these a model does is found
by trying (`parts_of`), since configs use one name for opposite things: Granite divides by `logits_scaling`, and
HyperCLOVA X multiplies by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HEAD_LOGITS = 512 * 49_152  # logits that exist at once: 100 MB in float32, 512 tokens with a vocabulary of 49,152
TRIED_TOKENS = 6
# Nats between log-probabilities by a rule and the model's own, in float32 or better and in less precise models. Both
# come from the same hidden states, so only the order of rounding differs; a missing scale is off by whole nats.
RULE_TOLERANCE = (1e-3, 0.1)


class Rule(NamedTuple):
    """What a model makes of its head's output: cap * tanh(scale * output / cap), or scale * output without a cap."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, output: Tensor) -> Tensor:
        """Logits, from the head's output."""
        logits = output if self.scale == 1 else output * self.scale
        return logits if self.cap is None else self.cap * (logits / self.cap).tanh()

    def slope(self, logits: Tensor) -> Tensor | float:
        """The derivative of each logit with respect to the head's output, from the logits."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap).square())


class Parts(NamedTuple):
    """A model taken apart: the decoder's last hidden states go through the head, and the rule makes logits of that."""

    decoder: Any
    head: torch.nn.Module
    rule: Rule


_PARTS: WeakKeyDictionary[Any, Parts | None] = WeakKeyDictionary()


def parts_of(model: Any) -> Parts | None:
    """The parts that together give the model's own logits; None where only its own forward pass has them.

    Args:
        model: a causal language model of transformers, its adapter taken off.
    """
    if model not in _PARTS:
        training = model.training
        model.eval()  # dropout would have two passes differ
        _PARTS[model] = next(filter(None, (_tried(model, decoder) for decoder in _decoders(model))), None)
        model.train(training)
    return _PARTS[model]


def _decoders(model: Any) -> list[Any]:
    """`get_decoder` of Llama 4 gives the model itself, and that of ModernBERT its head."""
    found = [model.get_decoder(), model.base_model, getattr(model, "model", None)]
    return [decoder for decoder in found if isinstance(decoder, torch.nn.Module) and decoder is not model]


@torch.no_grad()
def _tried(model: Any, decoder: Any) -> Parts | None:
    head = model.get_output_embeddings()
    ids = torch.arange(1, 1 + TRIED_TOKENS, device=model.device)[None]
    try:
        own = _precise(model(input_ids=ids, use_cache=False).logits).log_softmax(-1)
        output = _precise(head(decoder(input_ids=ids, use_cache=False).last_hidden_state))
        rules = list(itertools.starmap(Rule, itertools.product(_scales(model.config), _caps(model.config))))
        gaps = [float((rule(output).log_softmax(-1) - own).abs().max()) for rule in rules]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    gap, rule = min(zip(gaps, rules, strict=True), key=lambda tried: tried[0])
    return Parts(decoder, head, rule) if gap <= RULE_TOLERANCE[model.dtype.itemsize < 4] else None


def _scales(config: Any) -> list[float]:
    """1, and what a config's numbers for logits come to as factors and as divisors."""
    numbers = _numbers(config, lambda name: name.startswith(("logit", "lm_head")))
    return list(dict.fromkeys([1.0, *(factor for number in numbers for factor in (number, 1 / number))]))


def _caps(config: Any) -> list[float | None]:
    return [None, *_numbers(config, lambda name: "softcap" in name or "soft_cap" in name)]


def _numbers(config: Any, wanted: Callable[[str], bool]) -> list[float]:
    text = config.get_text_config()
    found = [getattr(text, name, None) for name in dir(text) if wanted(name)]
    return [float(value) for value in found if isinstance(value, (int, float)) and value > 0]


class Head:
    """A model's head for one state a row, as sampling needs it."""

    def __init__(self, parts: Parts) -> None:
        self._head = parts.head
        self._rule = parts.rule
        self._weight = self._head.weight.detach().float() if _is_plain(self._head) else None

    def __call__(self, states: Tensor) -> Tensor:
        """[rows, vocabulary], float32 on the CPU: the logits after hidden states [rows, width]."""
        output = _precise(self._head(states)) if self._weight is None else _product(states, self._weight)
        return self._rule(output.float()).cpu()


def target_logps(parts: Parts, states: Tensor, targets: Tensor) -> Tensor:
    """[tokens], nats, float32 (float64 for a model in it): the log-probability of each state's target.

    Only `HEAD_LOGITS` logits exist at a time; those of a whole batch never do.

    Args:
        states: [tokens, width], of the decoder.
        targets: [tokens], ids.
    """
    head, rule = parts.head, parts.rule
    if _is_plain(head) and not head.weight.requires_grad:
        logps: Tensor = _Frozen.apply(states, head.weight, targets, rule)  # type: ignore[no-untyped-call]
        return logps
    size = max(1, HEAD_LOGITS // int(getattr(head, "out_features", HEAD_LOGITS)))
    chunks = zip(torch.split(states, size), torch.split(targets, size), strict=True)
    # Checkpointed: a chunk's logits are computed again when its gradient is, and are never kept.
    return torch.cat([checkpoint(_logps, head, rule, *chunk, use_reentrant=False) for chunk in chunks])


def logps_of(logits: Tensor, targets: Tensor) -> Tensor:
    """[tokens], nats: the log-probability of each target under its logits [tokens, vocabulary]."""
    precise = _precise(logits)
    return precise.gather(1, targets[:, None])[:, 0] - precise.logsumexp(1)


def _logps(head: Any, rule: Rule, states: Tensor, targets: Tensor) -> Tensor:
    return logps_of(rule(_precise(head(states))), targets)


def _chunk(weight: Tensor) -> int:
    return max(1, HEAD_LOGITS // len(weight))


class _Frozen(torch.autograd.Function):
    """Log-probabilities after a head that is not trained.

    A token's log-probability is one number, so its gradient with respect to the token's state,
    sum over v of (1[v = target] - softmax(logits)[v]) * slope[v] * W[v], is known before any loss is: it is taken while
    the logits are at hand, and the backward pass only scales it. No logits are kept and none are computed twice.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, rule: Rule) -> Tensor:
        logps, slopes, size = [], [], _chunk(weight)
        for some, wanted in zip(torch.split(states, size), torch.split(targets, size), strict=True):
            logits = rule(_product(some, weight))
            of_output = rule.slope(logits)
            logps.append(logits.gather(1, wanted[:, None])[:, 0])
            # In place: what memory is new to costs more here than the arithmetic.
            top = logits.amax(1, keepdim=True)
            shares = logits.sub_(top).exp_()
            total = shares.sum(1, keepdim=True)
            logps[-1] -= (top + total.log())[:, 0]
            if ctx.needs_input_grad[0]:
                slopes.append(_slopes(shares, total, of_output, weight, wanted))
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(logps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (gradients[0][:, None] * slopes).to(slopes.dtype), None, None, None


def _slopes(shares: Tensor, total: Tensor, of_output: Tensor | float, weight: Tensor, targets: Tensor) -> Tensor:
    """[tokens, width]: the gradient of each token's log-probability with respect to its state.

    Args:
        shares: [tokens, vocabulary], probabilities times `total` [tokens, 1].
        of_output: the rule's slope at these logits.
    """
    if isinstance(of_output, float):
        plain = weight[targets] - (shares.to(weight.dtype) @ weight) / total.to(weight.dtype)
        return plain if of_output == 1 else plain * of_output
    of_target = of_output.gather(1, targets[:, None])
    weighted = shares.mul_(of_output).to(weight.dtype) @ weight
    return of_target.to(weight.dtype) * weight[targets] - weighted / total.to(weight.dtype)


def _is_plain(head: torch.nn.Module) -> TypeGuard[torch.nn.Linear]:
    return type(head) is torch.nn.Linear and head.bias is None


def _product(states: Tensor, weight: Tensor) -> Tensor:
    """states @ weight.T, summed in float32 or better.

    Args:
        weight: as precise as the states, or their values in float32.
    """
    if states.dtype == torch.bfloat16 and states.device.type == "cpu":
        with bfloat16_units():
            return states.float() @ weight.float().T
    if states.dtype == torch.bfloat16 and weight.dtype == torch.bfloat16:
        return torch.mm(states, weight.T, out_dtype=torch.float32)
    return _precise(states.to(weight.dtype) @ weight.T)


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def bfloat16_units() -> Iterator[None]:
    """Products of float32 matrices through units for bfloat16, where there are any: lossless for its values."""
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]
