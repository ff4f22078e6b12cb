"""Looks at the config of a model before, or without, building it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from srit.errors import DataError
from srit.recipe import Student

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# The names that configs give to their layers, and to attention heads, key-value heads, width and vocabulary, each with
# a number that no model reaches: transformers would build it for hours.
_LAYERS = dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 10_000)
_SIZES = _LAYERS | dict.fromkeys(
    (
        *("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads", "decoder_attention_heads"),
        *("hidden_size", "n_embd", "d_model", "vocab_size"),
    ),
    100_000_000,
)
# If it is the name of a repository, transformers fetches its code and runs it.
_KERNEL = re.compile(r"_?(?:attn|experts)_implementation\w*")


def revision_of(student: Student) -> str:
    """Return the revision of a hub id that is loaded."""
    return student.revision or "main"


def check_config(student: Student, place: str) -> None:
    """Check the config before transformers does what it says: divide by sizes, build a model, run code of the hub.

    Raises:
        DataError: the config has a size below 1, such as a model without layers, or one of no model, or names code on
            the hub.
    """
    from transformers import PreTrainedConfig

    config, _ = PreTrainedConfig.get_config_dict(place, revision=revision_of(student))
    text = config.get("text_config")
    sizes = config | text if isinstance(text, dict) else config
    for name, most in _SIZES.items():
        size = sizes.get(name)
        if isinstance(size, int) and not 1 <= size <= most:
            limit = "and a model needs at least 1" if size < 1 else f"and at most {most:,} are built"
            raise DataError(
                f"student.model: {student.model}: {name} is {size} in its config.json, {limit}: correct the file or "
                "choose another student"
            )
    for name, value in _fields(config):
        if _KERNEL.fullmatch(name) and "/" in json.dumps(value):
            raise DataError(
                f"student.model: {student.model}: {name} in its config.json names code on the hub, which srit does not "
                "run: remove it from the file"
            )


def _fields(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a config and of those within it."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _fields(value)


def dropout(config: PreTrainedConfig) -> dict[str, float]:
    """Return the dropout rates that a model's config asks for, by field name."""
    fields = [(str(name), value) for name, value in config.get_text_config().to_dict().items()]
    for _, value in fields:
        if isinstance(value, dict):  # such as MPT's attn_config
            fields += [(str(name), inner) for name, inner in value.items()]
    heads = ("classifier", "summary", "pooler")  # heads that do not generate text
    rates = {name: value for name, value in fields if "drop" in name and isinstance(value, float) and value > 0}
    return {name: rate for name, rate in rates.items() if not name.startswith(heads)}
