"""What earlier versions wrote into recipes and fingerprints, so that these still mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srit.settings import Part

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
