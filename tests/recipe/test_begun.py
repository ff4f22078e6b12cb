"""Folders in which no run has a recipe yet."""

import pytest

from srit.errors import RecipeError
from srit.recipe.begun import begun_recipe


def test_a_run_that_is_still_measuring_is_told_from_a_folder_without_a_run(tmp_path):
    with pytest.raises(RecipeError, match="not a run directory: start a run with srit run"):
        begun_recipe(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")

    with pytest.raises(RecipeError, match=r"still measuring how to compute the student.*try again"):
        begun_recipe(tmp_path)
