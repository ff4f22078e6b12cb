"""Recipes of run directories: what was begun there, and which run a folder belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srit.errors import RecipeError
from srit.recipe import Recipe, read_recipe
from srit.run_directory import MANIFEST

RECIPE = "recipe.yaml"  # in a run directory, with the precision that was chosen for it


def is_begun(folder: Path) -> bool:
    """Return whether a folder is a run directory, or becomes one: it has its recipe."""
    return (folder / RECIPE).is_file()


def begun_recipe(folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe of a run directory.

    Args:
        overrides: KEY=VALUE for fields that change.

    Raises:
        RecipeError: no run was begun there, or a field is at fault.
    """
    if not is_begun(folder):
        raise RecipeError(f"{folder}: not a run directory: begin a run with srit run RECIPE --out {folder}")
    return read_recipe(str(folder / RECIPE), overrides)


def run_around(folder: Path) -> Path | None:
    """Return the run directory that a folder lies in; None: it lies in none.

    A folder with a recipe but without a manifest is one where somebody keeps recipes.
    """
    runs = (above for above in folder.absolute().parents if (above / MANIFEST).is_file())
    return next((above for above in runs if is_begun(above)), None)
