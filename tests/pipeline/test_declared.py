"""A stage touches what it declared and nothing else."""

import pytest
from tiny import save_tiny_student

from srit.errors import DataError, RecipeError
from srit.pipeline.declared import Inputs, Outputs, UndeclaredError, only, only_computes
from srit.pipeline.fingerprints import basis, fingerprint
from srit.pipeline.running import open_run, run_stages
from srit.pipeline.stage import Stage, StageName
from srit.recipe import check_recipe, read_recipe
from srit.stages import stages

RECIPE = read_recipe(
    "studied",
    [
        "rounds=2",
        "controls=[instruct, right]",
        "evaluate.teacher=true",
        "evaluate.options=true",
        "evaluate.noise_floor=true",
        "evaluate.pairs=true",
        "tasks.refine=[{task: trade, limit: 9}]",
    ],
)


def test_a_view_of_a_recipe_has_the_declared_fields_and_no_others():
    view = only(RECIPE, ("seed", "pairs", "refine.beta", "refine.epochs"))

    assert (view.seed, view.pairs, view.refine.beta) == (RECIPE.seed, RECIPE.pairs, RECIPE.refine.beta)
    assert view.refine.model_copy(update={"epochs": 7}).epochs == 7
    for undeclared in (lambda: view.teacher, lambda: view.refine.accept, lambda: view.refine.nll_weight):
        with pytest.raises(AttributeError):
            undeclared()
    with pytest.raises(AttributeError):
        only_computes(None, ()).dtype  # noqa: B018


def test_files_that_were_not_declared_are_neither_read_nor_written(tmp_path):
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "b.json").write_text("2")
    inputs, out = Inputs("pairs", tmp_path, {"a.json": "sum"}, RECIPE, {}), Outputs("pairs", tmp_path, ["c.json"])

    assert inputs.json("a.json") == 1
    for read in (inputs.path, inputs.json, inputs.trained, lambda name: inputs.records(name, dict)):
        with pytest.raises(UndeclaredError, match=r"pairs did not declare b\.json"):
            read("b.json")
    for write in (out.path, lambda name: out.json(name, 0), lambda name: out.folder(name).__enter__()):
        with pytest.raises(UndeclaredError, match=r"a\.json, which it tries to write"):
            write("a.json")
    with inputs.gathered(tmp_path / "files") as folder:
        assert [path.name for path in folder.iterdir()] == ["a.json"]
    assert not (tmp_path / "files").exists() and (tmp_path / "a.json").exists()


@pytest.mark.parametrize("touch", ["field", "input", "output"])
def test_a_stage_that_touches_more_than_it_declared_is_an_internal_error(tmp_path, touch):
    tree = {
        "name": "nosy",
        "student": {"model": str(save_tiny_student(tmp_path / "student")), "dtype": "float32"},
        "tasks": {"train": [{"task": "sums"}], "evaluate": [{"task": "doors"}]},
    }

    def make(inputs, out, context):
        {
            "field": lambda: inputs.recipe.teacher,
            "input": lambda: inputs.path("demonstrations.jsonl"),
            "output": lambda: out.json("results.json", {}),
        }[touch]()
        return {}

    def declare(recipe):
        name = StageName("nosy")
        return [Stage(name=name, version=1, settings={}, reads=("seed",), inputs=(), outputs=("x.json",), make=make)]

    opening = open_run(tmp_path / "run", check_recipe(tree, source="x"), declare, watch=print)
    with opening as opened, pytest.raises((UndeclaredError, AttributeError)):
        run_stages(opened)

    assert not opened.run.manifest.stages


def test_an_error_about_a_gathered_file_names_the_run_s_own(tmp_path):
    inputs = Inputs("report", tmp_path / "run", {"results.json": ""}, RECIPE, {})

    with pytest.raises(DataError) as told, inputs.gathered(tmp_path / "gathered") as files:
        raise DataError(f"{files / 'results.json'}: damaged")

    assert str(told.value) == f"{tmp_path / 'run/results.json'}: damaged"


# What a stage reads and what its fingerprint has only by way of its inputs, or not at all.
NOT_IN_SETTINGS = {
    "predictions": {"seed"},  # greedy answers owe nothing to it
    "accepted": {"seed"},  # draws the resamples of its p-value
    "report": {"report_to"},  # who else is told of a run changes nothing in it
    "results": {"tasks", "teacher", "evaluate"},  # they decide which files are read, and what warnings say
}
PLANNED = {"device"}  # "auto" is what the compute plan makes of it, and that is in the fingerprint


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # a changed value need not be a valid one
@pytest.mark.parametrize("stage", stages(RECIPE), ids=lambda stage: str(stage.name))
def test_every_field_that_a_stage_reads_is_in_its_fingerprint(stage):
    def mark(recipe):
        try:
            again = next((other for other in stages(recipe) if other.name == stage.name), None)
        except RecipeError:  # there is no such kind of teacher, loss or engine
            return None
        if again is None:  # with files of the user's own, nothing is sampled
            return None
        return fingerprint(basis(again, dict.fromkeys(stage.inputs, ""), "", None, sources={}))

    free = NOT_IN_SETTINGS.get(stage.name.product, set())
    read = {field for field in stage.reads if field.partition(".")[0] not in free}

    assert {field for field in read for other in changed(RECIPE, field) if mark(other) == mark(RECIPE)} == set()


def changed(part, field):
    """Copies of a part of a recipe in each of which one value under the field is another."""
    head, _, rest = field.partition(".")
    value = getattr(part, head)
    inner = [rest] if rest else [name for name in getattr(type(value), "model_fields", ()) if name not in PLANNED]
    others = [other for name in inner for other in changed(value, name)] if inner else another(value)
    return [part.model_copy(update={head: other}) for other in others]


def another(value):
    if isinstance(value, tuple):
        return []  # of tasks, prompts and controls: they change which stages there are
    return [not value if isinstance(value, bool) else value + 1 if isinstance(value, (int, float)) else f"{value}x"]
