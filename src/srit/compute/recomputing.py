"""Recomputes layers for the gradient instead of storing them (Chen et al. 2016, arXiv 1604.06174).

transformers ties this to a model's training mode, which would also turn its dropout on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel


@contextmanager
def recomputed(model: LanguageModel, wanted: bool) -> Iterator[None]:
    """Make a forward pass store only the inputs of layers; the gradient recomputes the rest. The numbers are the same.

    A model whose layers transformers cannot checkpoint is computed as usual.
    """
    layers: list[Any] = [layer for layer in model.modules() if wanted and isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        # On the instance, hiding the class's method. No layer draws random numbers, since there is no dropout.
        layer.forward = partial(_checkpointed, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _checkpointed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
