"""Merges an adapter with the student that it was trained on, so that both can be used as one student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srit.recipe import Student
from srit.recipe.begun import begun_recipe, run_around
from srit.run_directory import building, read_json, write_json
from srit.students.adapted import base_of
from srit.students.loading import load_model, load_prompts
from srit.sums import sum_of

_OF = "merged.json"  # beside the weights: the sum of the adapter that they were merged with


def merge(adapter: Path, out: Path) -> dict[str, Any]:
    """Merge an adapter with its student into a folder, unless that holds just this already.

    Args:
        adapter: its folder. If it is in a run directory, the run's recipe says what it was trained on.
        out: the folder for the weights, in float32, and the tokenizer.

    Returns:
        The fields of a recipe's student that use it.

    Raises:
        DataError: the student that it was trained on is not named, or cannot be loaded.
    """
    student, total = _trained_on(adapter), sum_of(adapter)
    fields: dict[str, Any] = {"model": str(out), "tuning": "full", "dtype": student.dtype}
    if (out / _OF).exists() and read_json(out / _OF) == total:
        return fields
    exact = student.model_copy(update={"dtype": "float32"})
    with building(out) as folder:
        load_model(exact, adapter).save_pretrained(str(folder))
        load_prompts(student).save(folder)
        _keep_ends(adapter, folder)
        write_json(folder / _OF, total)
    return fields


def _trained_on(adapter: Path) -> Student:
    """Return the student of the run that the adapter lies in, or else the base that the adapter names."""
    if (made_by := run_around(adapter)) is not None:
        return begun_recipe(made_by).student
    return base_of(adapter)


def _keep_ends(adapter: Path, folder: Path) -> None:
    """Keep the adapter's own list of what ends an answer."""
    settings = adapter / "generation_config.json"
    if settings.is_file():
        write_json(folder / settings.name, read_json(settings))
