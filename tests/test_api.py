"""The public list: complete, documented, cheap to import, and enough for the whole method."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import srit
from srit.records import Completion, Demonstration, Pair


def test_the_public_list_is_what_the_package_documents():
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^- (.*?):", srit.__doc__, re.MULTILINE)))

    assert sorted(documented) == sorted(srit.__all__)


@pytest.mark.parametrize("name", srit.__all__)
def test_each_public_name_is_a_documented_class_or_a_documented_and_typed_function(name):
    public = getattr(srit, name)

    assert public.__doc__ and name in dir(srit)
    if inspect.isfunction(public):
        signature = inspect.signature(public)
        annotations = [signature.return_annotation, *(p.annotation for p in signature.parameters.values())]
        assert inspect.Signature.empty not in annotations
        assert all(word in public.__doc__ for word in ("Raises:", "Returns:")) or "are those of `run`" in public.__doc__
    else:
        assert inspect.isclass(public)


def test_importing_srit_loads_nothing():
    code = "import sys, srit; print({'torch', 'pydantic', 'rich'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


@pytest.mark.parametrize("of", [str, Path, lambda path: yaml.safe_load(path.read_text())], ids=["name", "path", "dict"])
def test_a_recipe_is_read_from_a_file_by_its_name_its_path_or_its_fields(of, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstudent: {model: x}\ntasks: {train: [{task: sums}], evaluate: [{task: sums}]}")

    recipe = srit.read_recipe(of(path), ["seed=3"])

    assert (recipe.name, recipe.seed, recipe.student.model) == ("mine", 3, "x")


def test_a_fault_in_the_fields_of_a_recipe_names_the_field_and_leaves_the_fields_alone():
    fields = {"name": "mine", "refine": {"bta": 1}}

    with pytest.raises(srit.SritError, match=r"the recipe: .*refine\.bta.*did you mean"):
        srit.read_recipe(fields, ["seed=3"])
    assert fields == {"name": "mine", "refine": {"bta": 1}}


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="rnu"):
        srit.rnu  # noqa: B018


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    fields = {
        "name": "tiny",
        "student": {"model": str(tiny_student), "tuning": "full", "dtype": "float32"},
        "tasks": {
            "train": [{"task": "sums", "limit": 12}, {"task": "switches", "limit": 12}],
            "evaluate": [{"task": "sums", "limit": 4}],
        },
        "instruct": {"epochs": 30, "learning_rate": 1e-2, "batch_size": 24, "direct_target": "answer"},
        "sample": {"direct": 2, "cot": 2, "max_new_tokens": 12},
        "refine": {"epochs": 1, "batch_size": 8, "nll_weight": 0.5},
        "evaluate": {"max_new_tokens": 8},
    }
    path.write_text(yaml.safe_dump(fields))
    return srit.read_recipe(str(path))


def test_the_whole_method_in_python_stage_by_stage_and_at_once(recipe, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    seen = []
    waiting = srit.plan(recipe)

    demonstrations = srit.demonstrate(recipe, log=seen.append, progress=lambda *done: seen.append(done))
    instructed = srit.instruct(recipe)
    completions, pairs = srit.sample(recipe), srit.pair(recipe)
    refined = srit.refine(recipe)
    results = srit.evaluate(recipe)
    folder = srit.run(recipe, "runs/tiny")  # everything is done

    assert folder == Path("runs/tiny") and results == srit.load_results(folder)
    assert {stage.reason for stage in waiting.stages} == {"not made yet"} and waiting.summary.startswith("in all ")
    assert {type(record) for record in (*demonstrations, *completions, *pairs)} == {Demonstration, Completion, Pair}
    assert (len(demonstrations), len(completions)) == (24, 24 * 4) and pairs
    assert (instructed, refined) == (folder / "instructed", folder / "round-1/refined")
    assert (instructed / "model.safetensors").exists() and (refined / "model.safetensors").exists()
    assert any(str(line).startswith("demonstrations done in") for line in seen)
    done = srit.plan(recipe)
    assert not any(stage.reason for stage in done.stages) and not any(sum(stage.work) for stage in done.stages)
    assert done.summary == ""
    (folder / "report.html").unlink()
    assert srit.report(folder) == folder / "report.html" and (folder / "report.html").exists()
    # Lines without a log go to the logger "srit"; what is wrong is a warning, so that nobody has to ask for it.
    levels = {record.levelname: record.message for record in caplog.records if record.name == "srit"}
    assert levels["WARNING"].startswith("WARN") and "WARN" not in levels.get("INFO", "")


@pytest.mark.parametrize("read", [srit.report, srit.load_results, srit.load_verdict])
def test_a_folder_without_a_run_is_an_error_that_a_user_can_act_on(read, tmp_path):
    with pytest.raises(srit.SritError, match=r"start a run|srit evaluate"):
        read(tmp_path)


def test_damaged_results_name_the_file(tmp_path):
    (tmp_path / "results.json").write_text("{")

    with pytest.raises(srit.SritError, match=r"results\.json: damaged"):
        srit.load_results(tmp_path)
