"""Looks at the config of a model before, or without, building it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srit.errors import DataError
from srit.recipe import Student

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# The names that configs give to their layers, attention heads, key-value heads, width and vocabulary.
_SIZES = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"),
    *("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads", "decoder_attention_heads"),
    *("hidden_size", "n_embd", "d_model", "vocab_size"),
)


def revision_of(student: Student) -> str:
    """Return the revision of a hub id that is loaded."""
    return student.revision or "main"


def check_sizes(student: Student, place: str) -> None:
    """Check the config before transformers reads it, which divides by these sizes or builds an empty model.

    Raises:
        DataError: the config has a size below 1, such as a model without layers.
    """
    from transformers import PreTrainedConfig

    config, _ = PreTrainedConfig.get_config_dict(place, revision=revision_of(student))
    text = config.get("text_config")
    sizes = config | text if isinstance(text, dict) else config
    for name in _SIZES:
        size = sizes.get(name)
        if isinstance(size, int) and size < 1:
            raise DataError(
                f"student.model: {student.model}: {name} is {size} in its config.json, and a model needs at least 1: "
                "correct the file or choose another student"
            )


def dropout(config: PreTrainedConfig) -> dict[str, float]:
    """Return the dropout rates that a model's config asks for, by field name."""
    fields = [(str(name), value) for name, value in config.get_text_config().to_dict().items()]
    for _, value in fields:
        if isinstance(value, dict):  # such as MPT's attn_config
            fields += [(str(name), inner) for name, inner in value.items()]
    heads = ("classifier", "summary", "pooler")  # heads that do not generate text
    rates = {name: value for name, value in fields if "drop" in name and isinstance(value, float) and value > 0}
    return {name: rate for name, rate in rates.items() if not name.startswith(heads)}
