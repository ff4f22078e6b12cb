"""What earlier versions wrote into recipes and fingerprints, so that these still mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from srit.run_directory import MANIFEST
from srit.settings import OneOf, Part

RECIPE = "recipe.yaml"  # in a run directory, with the precision that was chosen for the run; it states every field

# Fields that every teacher and every loss had before each kind had its own. A recipe.yaml from that time states them,
# and they are part of its stages' fingerprints.
TEACHER_FIELDS: Mapping[str, Any] = {
    "path": None,
    "variant": None,
    "model": None,
    "revision": None,
    "chat_template": None,
    "base_url": None,
    "api_key_env": "OPENAI_API_KEY",
    "temperature": 0.0,
    "max_tokens": 512,
    "concurrency": 8,
    "max_calls": None,
    "max_spent_tokens": None,
    "prices": None,
}
LOSS_FIELDS: Mapping[str, Any] = {"beta": 0.1, "label_smoothing": 0.0, "gamma": 0.0}

# Fields that were added later, with the values that keep the earlier behavior: with these, they are not part of a
# fingerprint.
LATER_FIELDS: Mapping[str, Any] = {
    "rejected_by": "sampled",
    "distinct": True,
    "swapped": 0.0,
    "parts": 1,
    "passes": 1,
    "reference": "part",
}


def with_former(former: Mapping[str, Any], settings: Part, *, without: str) -> dict[str, Any]:
    """Return settings as JSON with the fields that all kinds once had, `without` the one that shapes nothing."""
    own = settings.model_dump(mode="json")
    return {field: value for field, value in {**former, **own}.items() if field != without}


def without_later(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of `LATER_FIELDS` that change nothing."""
    return {field: value for field, value in settings.items() if LATER_FIELDS.get(field, ...) != value}


def is_of_run(path: Path) -> bool:
    """Return whether a file is the recipe of a run directory."""
    return path.name == RECIPE and (path.parent / MANIFEST).is_file()


def without_former_kinds(
    tree: Mapping[str, Any], changes: Sequence[tuple[str, Any]], model: type[BaseModel]
) -> dict[str, Any]:
    """Return the fields of a run's recipe without the defaults of each loss, teacher or sampler that is replaced.

    The recipe states them like fields that were set, and the new kind has its own.

    Args:
        changes: fields by their dotted names, and their new values.
    """
    kept = dict(tree)
    for key, value in changes:
        part, _, by = key.rpartition(".")
        marks = model.model_fields[part].metadata if part in model.model_fields else []
        union = next((mark for mark in marks if isinstance(mark, OneOf)), None)
        settings = kept.get(part)
        if union is not None and union.by == by and isinstance(settings, dict) and union.name(settings) != value:
            former = {
                name: to_jsonable_python(field.get_default(call_default_factory=True))
                for name, field in union.member(settings).model_fields.items()
                if not field.is_required()
            }
            kept[part] = {name: set_ for name, set_ in settings.items() if former.get(name, ...) != set_}
    return kept
