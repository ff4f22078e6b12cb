"""Turns hidden states into logits and log-probabilities, in float32 whatever precision the model computes in.

In bfloat16, a logit near 20 is rounded to a multiple of 0.125: an answer of thirty tokens is then off by half a nat,
and the likeliest token is often a tie. Products of bfloat16 numbers are exact in float32, so only the sums need the
extra precision, which bfloat16 hardware provides at no cost.

Some model families scale or cap the output of their head to get logits. srit finds out what a model does by trying
(`parts_of`), since configs use one name for opposite things: Granite divides by `logits_scaling`, and HyperCLOVA X
multiplies by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Logits in memory at once, in float32: 100 MB on a processor, 512 tokens with a vocabulary of 49,152. A GPU gets 1 GB,
# since most of it would idle with fewer.
HEAD_LOGITS = 512 * 49_152
HEAD_LOGITS_ON_GPU = 1 << 28
TRIED_TOKENS = 6
# Nats between the log-probabilities of a rule and the model's own: in float32 or better, and in lower precision. Both
# come from the same hidden states, so only the order of rounding differs; a missing scale is off by whole nats.
RULE_TOLERANCE = (1e-3, 0.1)


class Rule(NamedTuple):
    """How a model turns its head's output into logits: cap * tanh(scale * output / cap), or scale * output uncapped."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, output: Tensor) -> Tensor:
        """Return the logits for the head's output."""
        logits = output if self.scale == 1 else output * self.scale
        return logits if self.cap is None else self.cap * (logits / self.cap).tanh()

    def slope(self, logits: Tensor) -> Tensor | float:
        """Return the derivative of each logit with respect to the head's output, given the logits."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap).square())


class Parts(NamedTuple):
    """A model in parts: the decoder's last hidden states go through the head, and the rule turns that into logits."""

    decoder: torch.nn.Module
    head: torch.nn.Module
    rule: Rule


_PARTS: WeakKeyDictionary[PreTrainedModel, Parts | None] = WeakKeyDictionary()


def parts_of(model: PreTrainedModel) -> Parts | None:
    """Return the parts that reproduce the model's own logits, or None if only its own forward pass gives them.

    Args:
        model: a causal language model without an adapter.
    """
    if model not in _PARTS:
        training = model.training
        model.eval()  # type: ignore[no-untyped-call]  # with dropout, two passes would differ
        _PARTS[model] = next(filter(None, (_tried(model, decoder) for decoder in _decoders(model))), None)
        model.train(training)
    return _PARTS[model]


def output_head(model: PreTrainedModel) -> torch.nn.Module:
    """Return the module that turns hidden states into logits."""
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return head


def _decoders(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Return the modules that may be the decoder: `get_decoder` gives Llama 4 itself, and the head of ModernBERT."""
    own = model.get_decoder()  # type: ignore[no-untyped-call]
    found = [own, model.base_model, getattr(model, "model", None)]
    return [decoder for decoder in found if isinstance(decoder, torch.nn.Module) and decoder is not model]


@torch.no_grad()
def _tried(model: PreTrainedModel, decoder: torch.nn.Module) -> Parts | None:
    head = output_head(model)
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


def _scales(config: PreTrainedConfig) -> list[float]:
    """Return 1 and the config's numbers for logits, as factors and as divisors."""
    numbers = _numbers(config, lambda name: name.startswith(("logit", "lm_head")))
    return list(dict.fromkeys([1.0, *(factor for number in numbers for factor in (number, 1 / number))]))


def _caps(config: PreTrainedConfig) -> list[float | None]:
    return [None, *_numbers(config, lambda name: "softcap" in name or "soft_cap" in name)]


def _numbers(config: PreTrainedConfig, wanted: Callable[[str], bool]) -> list[float]:
    text = config.get_text_config()
    found = [getattr(text, name, None) for name in dir(text) if wanted(name)]
    return [float(value) for value in found if isinstance(value, (int, float)) and value > 0]


class Head:
    """A model's head for one hidden state per row, as sampling needs it."""

    def __init__(self, parts: Parts) -> None:
        self._head = parts.head
        self._rule = parts.rule
        self._weight = _read_only(self._head.weight) if _is_plain(self._head) else None

    def __call__(self, states: Tensor) -> Tensor:
        """Return the logits of hidden states [rows, width]: [rows, vocabulary], float32, on their device."""
        output = _precise(self._head(states)) if self._weight is None else _product(states, self._weight)
        return self._rule(output.float())


def target_logps(parts: Parts, states: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability of each state's target token: [tokens], nats, float32 (float64 for a float64 model).

    Only so many logits are in memory at a time (`HEAD_LOGITS`), never those of a whole batch.

    Args:
        states: [tokens, width], from the decoder.
        targets: [tokens], token ids.
    """
    head, rule = parts.head, parts.rule
    if _is_plain(head) and not head.weight.requires_grad:
        logps: Tensor = _Frozen.apply(states, head.weight, targets, rule)  # type: ignore[no-untyped-call]
        return logps
    size = _chunk(states.device, int(getattr(head, "out_features", HEAD_LOGITS)))
    chunks = zip(torch.split(states, size), torch.split(targets, size), strict=True)
    # Checkpointed: the backward pass recomputes a chunk's logits, which are never stored.
    return torch.cat([checkpoint(_logps, head, rule, *chunk, use_reentrant=False) for chunk in chunks])


def logps_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability of each target under its logits [tokens, vocabulary]: [tokens], nats."""
    precise = _precise(logits)
    return precise.gather(1, targets[:, None])[:, 0] - precise.logsumexp(1)


def _logps(head: torch.nn.Module, rule: Rule, states: Tensor, targets: Tensor) -> Tensor:
    return logps_of(rule(_precise(head(states))), targets)


def _chunk(device: torch.device, vocabulary: int) -> int:
    return max(1, (HEAD_LOGITS if device.type == "cpu" else HEAD_LOGITS_ON_GPU) // vocabulary)


def _read_only(weight: Tensor) -> Tensor:
    """Return the weight as `_product` takes it fastest: only a GPU sums products of bfloat16 numbers in float32."""
    return weight.detach().float() if weight.device.type == "cpu" else weight.detach()


class _Frozen(torch.autograd.Function):
    """Log-probabilities under a head that is not trained.

    A token's log-probability is one number, so its gradient with respect to the token's state,
    sum over v of (1[v = target] - softmax(logits)[v]) * slope[v] * W[v], does not depend on the loss. The forward pass
    computes it while the logits are in memory, and the backward pass only scales it: no logits are stored, and none are
    computed twice.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, rule: Rule) -> Tensor:
        logps, slopes, size = [], [], _chunk(states.device, len(weight))
        for some, wanted in zip(torch.split(states, size), torch.split(targets, size), strict=True):
            logits = rule(_product(some, weight))
            slope = rule.slope(logits)
            logps.append(logits.gather(1, wanted[:, None])[:, 0])
            # In place: touching new memory costs more here than the arithmetic.
            top = logits.amax(1, keepdim=True)
            exponentials = logits.sub_(top).exp_()
            total = exponentials.sum(1, keepdim=True)
            logps[-1] -= (top + total.log())[:, 0]
            if ctx.needs_input_grad[0]:
                slopes.append(_slopes(exponentials, total, slope, weight, wanted))
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(logps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (gradients[0][:, None] * slopes).to(slopes.dtype), None, None, None


def _slopes(exponentials: Tensor, total: Tensor, slope: Tensor | float, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of each token's log-probability with respect to its state, [tokens, width].

    Args:
        exponentials: [tokens, vocabulary], probabilities times `total` [tokens, 1].
        slope: the rule's slope at these logits.
    """
    if isinstance(slope, float):
        plain = weight[targets] - (exponentials.to(weight.dtype) @ weight) / total.to(weight.dtype)
        return plain if slope == 1 else plain * slope
    target_slope = slope.gather(1, targets[:, None])
    weighted = exponentials.mul_(slope).to(weight.dtype) @ weight
    return target_slope.to(weight.dtype) * weight[targets] - weighted / total.to(weight.dtype)


def _is_plain(head: torch.nn.Module) -> TypeGuard[torch.nn.Linear]:
    return type(head) is torch.nn.Linear and head.bias is None


def _product(states: Tensor, weight: Tensor) -> Tensor:
    """Return states @ weight.T, summed in float32 or better.

    Args:
        weight: in the precision of the states, or the same values in float32.
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
    """Multiply float32 matrices on bfloat16 hardware, where there is any: lossless for values that bfloat16 holds."""
    products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    try:  # a Ctrl-C between the two would leave all later products less exact
        products.fp32_precision = "bf16"
        yield
    finally:
        products.fp32_precision = "none" if before == "bf16" else before  # "bf16" may be another thread's
