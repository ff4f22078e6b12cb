"""The output head: hidden states to logits and to log-probabilities, in float32 whatever the model computes in.

A logit near 20 that is rounded to bfloat16 lies on a grid of 0.125: an answer of thirty tokens is then off by half a
nat, and the likeliest token is often a tie. Products of bfloat16 numbers are exact in float32, so only the sums need
its room, and units for bfloat16 give it at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HEAD_TOKENS = 512  # whose logits exist at once: 100 MB with a vocabulary of 49,152


class Head:
    """A model's head for one state a row, as sampling needs it."""

    def __init__(self, model: Any) -> None:
        self._head = model.get_output_embeddings()
        self._cap = getattr(model.config, "final_logit_softcapping", None)
        self._weight = self._head.weight.detach().float() if _is_plain(self._head) else None

    def __call__(self, states: Tensor) -> Tensor:
        """[rows, vocabulary], float32 on the CPU: the logits behind hidden states [rows, width]."""
        logits = _precise(self._head(states)) if self._weight is None else _product(states, self._weight)
        return _capped(logits.float().cpu(), self._cap)


def target_logps(model: Any, states: Tensor, targets: Tensor) -> Tensor:
    """[tokens], nats, float32 (float64 for a model in it): the log-probability of each state's target.

    Logits exist for `HEAD_TOKENS` tokens at a time, so that those of a whole batch never do.

    Args:
        model: a causal language model of transformers, its adapter taken off.
        states: [tokens, width].
        targets: [tokens], ids.
    """
    head, cap = model.get_output_embeddings(), getattr(model.config, "final_logit_softcapping", None)
    if _is_plain(head) and not head.weight.requires_grad and not cap:
        logps: Tensor = _Frozen.apply(states, head.weight, targets)  # type: ignore[no-untyped-call]
        return logps
    chunks = zip(torch.split(states, HEAD_TOKENS), torch.split(targets, HEAD_TOKENS), strict=True)
    # Checkpointed: a chunk's logits are computed again when its gradient is, and are never kept.
    return torch.cat([checkpoint(_logps, head, cap, *chunk, use_reentrant=False) for chunk in chunks])


def _logps(head: Any, cap: float | None, states: Tensor, targets: Tensor) -> Tensor:
    logits = _capped(_precise(head(states)), cap)
    return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)


class _Frozen(torch.autograd.Function):
    """Log-probabilities behind a head that is not trained.

    A token's log-probability is one number, so its gradient with respect to the token's state,
    W[target] - softmax(W state) W, is known before any loss is: it is taken while the logits are at hand, and the
    backward pass only scales it. No logits are kept and none are computed twice.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        logps, slopes = [], []
        for some, wanted in zip(torch.split(states, HEAD_TOKENS), torch.split(targets, HEAD_TOKENS), strict=True):
            logits = _product(some, weight)
            logps.append(logits.gather(1, wanted[:, None])[:, 0])
            # In place: what memory is new to costs more here than the arithmetic.
            top = logits.amax(1, keepdim=True)
            shares = logits.sub_(top).exp_()
            total = shares.sum(1, keepdim=True)
            logps[-1] -= (top + total.log())[:, 0]
            if ctx.needs_input_grad[0]:
                slopes.append(weight[wanted] - (shares.to(weight.dtype) @ weight) / total.to(weight.dtype))
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(logps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return (gradients[0][:, None] * slopes).to(slopes.dtype), None, None


def _is_plain(head: Any) -> bool:
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


def _capped(logits: Tensor, cap: float | None) -> Tensor:
    return cap * (logits / cap).tanh() if cap else logits


@contextmanager
def bfloat16_units() -> Iterator[None]:
    """Products of float32 matrices through units for bfloat16, where there are any: lossless for its values."""
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]
