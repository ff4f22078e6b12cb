"""The recipes of run directories: what was started there, and which run a folder belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srit.errors import RecipeError
from srit.recipe import Recipe, read_old_recipe
from srit.recipe.former import RECIPE
from srit.run_directory import MANIFEST


def is_begun(folder: Path) -> bool:
    """Return whether a folder is a run directory, or becomes one: whether it has a recipe."""
    return (folder / RECIPE).is_file()


def begun_recipe(folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe of a run directory.

    Args:
        overrides: KEY=VALUE for fields to change.

    Raises:
        RecipeError: no run was begun there, or a field is at fault.
    """
    if not is_begun(folder):
        if (folder / MANIFEST).is_file():
            raise RecipeError(
                f"{folder}: its run is still measuring how to compute the student, which takes minutes, and has no "
                f"{RECIPE} before that: try again then, or rerun the run's command if it was stopped"
            )
        raise RecipeError(f"{folder}: this is not a run directory: start a run with srit run RECIPE --out {folder}")
    return read_old_recipe(folder / RECIPE, overrides)


def run_around(folder: Path) -> Path | None:
    """Return the run directory that contains a folder; None: none does.

    A folder with a recipe but without a manifest is just a place where somebody keeps recipes.
    """
    runs = (above for above in folder.absolute().parents if (above / MANIFEST).is_file())
    return next((above for above in runs if is_begun(above)), None)
