"""The models that srit computes: a causal language model of transformers, with or without a PEFT adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LanguageModel: TypeAlias = "PreTrainedModel | PeftModel"


def without_adapter(model: LanguageModel) -> PreTrainedModel:
    """Return the model that an adapter is attached to, or the model itself if it has no adapter."""
    # Not by `peft_config`, which PEFT also leaves on the base model.
    found = cast("PeftModel", model).get_base_model() if hasattr(model, "get_base_model") else model
    return cast("PreTrainedModel", found)
