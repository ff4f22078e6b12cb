"""The recipes of run directories."""

import pytest
import yaml

from srit.errors import RecipeError
from srit.recipe import read_recipe
from srit.recipe.begun import begun_recipe


def test_a_run_that_is_still_measuring_is_told_from_a_folder_without_a_run(tmp_path):
    with pytest.raises(RecipeError, match="not a run directory: start a run with srit run"):
        begun_recipe(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")

    with pytest.raises(RecipeError, match=r"still measuring how to compute the student.*try again"):
        begun_recipe(tmp_path)


@pytest.mark.parametrize("loss", ["sigmoid", "group", "none"])
@pytest.mark.parametrize("former", ["none", "sigmoid"])
def test_a_run_whose_loss_is_changed_has_the_new_one_s_defaults(tmp_path, former, loss):
    def recipe_with(loss):
        tasks = {"train": [{"task": "sums"}], "evaluate": [{"task": "sums4"}]}
        return read_recipe({"name": "r", "student": {"model": "m"}, "tasks": tasks, "refine": {"loss": loss}})

    name = tmp_path / "recipe.yaml"
    name.write_text(yaml.safe_dump(recipe_with(former).model_dump(mode="json")))
    (tmp_path / "manifest.json").write_text("{}")

    assert begun_recipe(tmp_path, [f"refine.loss={loss}"]).refine == recipe_with(loss).refine
    chosen = read_recipe(name, ["refine.nll_weight=2", f"refine.loss={loss}"]).refine
    assert chosen == recipe_with(loss).refine.model_copy(update={"nll_weight": 2.0})
