import pytest

from srit.errors import RecipeError
from srit.recipe import read_recipe, shipped
from srit.stages import stages

GOOD = """\
name: small
student:
  model: smollm2-135m-instruct
tasks:
  train:
    - task: sums
      limit: 10
  evaluate: [{task: sums4}]
refine:
  learning_rate: 1e-4
"""

BAD = {
    "unknown field, with the nearest": (
        GOOD + "  nll_wieght: 1\n",
        "recipe.yaml:11: there is no field refine.nll_wieght; did you mean nll_weight?",
    ),
    "unknown field at the top": (GOOD + "round: 2\n", "recipe.yaml:11: there is no field round; did you mean rounds?"),
    "missing field": (GOOD.replace("  model: smollm2-135m-instruct\n", "  tuning: full\n"), "student.model"),
    "text for a number": (GOOD + "  beta: high\n", "recipe.yaml:11: refine.beta is 'high'"),
    "a number out of range": (GOOD + "  beta: 0\n", "recipe.yaml:11: refine.beta is 0: input should be greater than 0"),
    "yes is not a boolean": (
        GOOD.replace("tasks:\n", "tasks:\n  allow_overlap: yes\n"),
        "tasks.allow_overlap is 'yes'",
    ),
    "a choice that does not exist": (GOOD + "  nll_on: wrong\n", "refine.nll_on is 'wrong'"),
    "an empty list of tasks": (GOOD.replace("[{task: sums4}]", "[]"), "tasks.evaluate"),
    "a field that the loss does not use": (
        GOOD + "  loss: ipo\n  label_smoothing: 0.1\n",
        "label_smoothing: the loss ipo does not use it",
    ),
    "a recording without its path": (
        GOOD + "teacher: {kind: recording}\n",
        "path: a teacher of kind recording needs it",
    ),
    "a name that is a path": (GOOD.replace("name: small", "name: ../../small"), "name is '../../small'"),
    "the same key twice": (GOOD + "name: twice\n", "recipe.yaml:11: 'name' stands here twice"),
    "an alias": (GOOD + "rounds: *x\n", "aliases"),
    "a key that is a number": (GOOD + "1: 2\n", "the key 1 is not text"),
    "nested without end": ("[" * 5000, "nested deeper than 32"),
    "a tab": (GOOD + "\tx: 1\n", "recipe.yaml:11"),
    "no mapping": ("just text", "a recipe is a mapping"),
    "bytes that are no text": (b"\xff\xfe", "not UTF-8"),
    "too long": ("#" * (1 << 21), "at most"),
}


def written(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_numbers_are_read_as_yaml_1_2(tmp_path):
    recipe = read_recipe(written(tmp_path, GOOD))

    assert recipe.refine.learning_rate == 1e-4
    assert recipe.tasks.train[0].limit == 10


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_recipe_is_refused_with_its_place(tmp_path, fault):
    content, message = BAD[fault]

    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, content))

    assert message in str(caught.value)


def test_overrides_are_typed_and_reach_into_lists(tmp_path):
    recipe = read_recipe(written(tmp_path, GOOD), ["refine.beta=0.5", "tasks.train.0.limit=3", "name=other"])

    assert (recipe.refine.beta, recipe.tasks.train[0].limit, recipe.name) == (0.5, 3, "other")


@pytest.mark.parametrize("override", ["refine.beta", "refine.beta=x", "tasks.train.7.limit=3", "name.x=1"])
def test_a_bad_override_is_refused(tmp_path, override):
    with pytest.raises(RecipeError):
        read_recipe(written(tmp_path, GOOD), [override])


def test_all_faults_of_a_recipe_are_told_at_once(tmp_path):
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, GOOD + "  beta: -1\n  epochs: 0\n"))

    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_a_plan(name):
    recipe = read_recipe(name)

    assert recipe.name == name
    assert stages(recipe)[-1].name == "results"
