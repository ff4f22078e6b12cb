"""The models that srit computes: a causal language model of transformers, with or without a PEFT adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import PreTrainedModel

LanguageModel: TypeAlias = "PreTrainedModel | PeftModel"


def without_adapter(model: LanguageModel) -> PreTrainedModel:
    """Return the model that an adapter is attached to, or the model itself if it has no adapter."""
    # Not by `peft_config`, which PEFT also leaves on the base model.
    found = cast("PeftModel", model).get_base_model() if hasattr(model, "get_base_model") else model
    return cast("PreTrainedModel", found)


def trained_weights(model: LanguageModel) -> dict[str, Parameter]:
    """Return the weights that training changes, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


# The method of a model with sharded weights that gathers them while it computes.
GATHERED: Final = "srit_gathered"


def with_weights(model: PreTrainedModel, compute: Callable[[], Tensor]) -> Tensor:
    """Compute something from a model's whole weights, wherever they are, such that it has a gradient.

    Args:
        compute: a function that calls parts of the model, not the model itself.
    """
    gathered: Callable[[Callable[[], Tensor]], Tensor] | None = getattr(model, GATHERED, None)
    return compute() if gathered is None else gathered(compute)
