from pathlib import Path

import pytest

from srit.errors import RecipeError
from srit.study.grid import read_study, shipped_studies

GOOD = """\
name: small
recipe: quickstart
seeds: [0, 1]
axes:
  refine.beta: [0.1, 0.5]
  trained on:
    sums: {label.teacher_family: llama}
    trade: {tasks.train: [{task: trade, limit: 10}], label.teacher_family: mistral}
labels: {student_family: llama}
"""


BAD = {
    "an unknown field, with the nearest": (
        GOOD + "seed: [1]\n",
        "study.yaml:10: there is no field seed; did you mean seeds?",
    ),
    "a recipe's field that does not exist": (
        GOOD.replace("refine.beta", "refine.betta"),
        "study.yaml:5: there is no field refine.betta; did you mean beta?",
    ),
    "a value that the recipe refuses": (
        GOOD.replace("0.5", "-1"),
        "study.yaml:5: refine.beta is -1: input should be greater than 0",
    ),
    "a task that does not exist": (GOOD.replace("task: trade", "task: trad"), "trad"),
    "a base recipe that does not exist": (GOOD.replace("quickstart", "quikstart"), "did you mean 'quickstart'?"),
    "an axis without values": (GOOD.replace("[0.1, 0.5]", "0.1"), "study.yaml:5: an axis is a list of values"),
    "an option that is not a mapping": (
        GOOD.replace("{label.teacher_family: llama}", "x"),
        "study.yaml:7: sums is 'x'",
    ),
    "a claim on a label that no cell has": (
        GOOD + "claims: [{where: {famly: in}}]\n",
        "study.yaml:10: no cell has the label 'famly'; did you mean family?",
    ),
    "a claim on a model that no cell has": (GOOD + "claims: [{a: refind}]\n", "did you mean refined?"),
    "a seed twice": (GOOD.replace("[0, 1]", "[1, 1]"), "study.yaml:3: seed 1 is listed twice"),
    "a claim whose sides share no other labels": (
        GOOD + "claims: [{where: {trained on: sums}, against: {trained on: trade}}]\n",
        "study.yaml:10: no two cells have these labels and share all others: list in same",
    ),
    "labels to share with no other side": (
        GOOD + "claims: [{same: [family]}]\n",
        "the other side's labels in against",
    ),
    "a seed as a field": (GOOD.replace("refine.beta: [0.1, 0.5]", "seed: [7, 8]"), "study.yaml:5: seed: a study sets"),
    "a label that an axis gives": (
        GOOD.replace("label.teacher_family: llama", "label.refine.beta: few"),
        "study.yaml:7: label.refine.beta: the axis of that name gives this label",
    ),
    "two cells in one folder": (GOOD + "cells: {a b: {}, a-b: {}}\n", "would share a folder"),
}


def written(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return str(path)


def test_a_grid_is_the_product_of_its_axes_with_checked_recipes(tmp_path):
    grid = read_study(written(tmp_path, GOOD), ["refine.epochs=3", "seeds=[4, 5, 6]"])

    names = ["beta=0.1 · sums", "beta=0.1 · trade", "beta=0.5 · sums", "beta=0.5 · trade"]
    assert [cell.name for cell in grid.cells] == names
    last = grid.cells[-1]
    assert [(r.seed, r.refine.beta, r.refine.epochs, r.tasks.train[0].task) for r in last.recipes] == [
        (seed, 0.5, 3, "trade") for seed in (4, 5, 6)
    ]
    assert last.labels["family"] == "out" and grid.cells[0].labels["family"] == "in"


def test_an_override_changes_part_of_what_a_cell_sets_and_is_refused_where_it_would_change_all(tmp_path):
    grid = read_study(written(tmp_path, GOOD), ["tasks.train.0.limit=3"])

    assert [cell.recipes[0].tasks.train[0].limit for cell in grid.cells] == [3, 3, 3, 3]
    with pytest.raises(RecipeError, match=r"refine.beta=0.3: .*study.yaml:\d+ sets it for a cell"):
        read_study(written(tmp_path, GOOD), ["refine.beta=0.3"])


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_study_is_refused_with_its_place(tmp_path, fault):
    text, message = BAD[fault]

    with pytest.raises(RecipeError) as caught:
        read_study(written(tmp_path, text))

    assert message in str(caught.value)


def test_all_faults_of_all_cells_are_reported_at_once_and_each_once(tmp_path):
    text = GOOD.replace("0.5", "-1").replace("limit: 10}]", "limit: 10}], rounds: -1")

    with pytest.raises(RecipeError) as caught:
        read_study(written(tmp_path, text))

    assert sorted(line.split(": ")[0].split(":")[-1] for line in str(caught.value).splitlines()) == ["5", "8"]


def test_the_studies_of_the_protocol_are_shipped():
    listed = ["in-domain", "out-of-domain", "families", "cross", "less-data", "heuristics", "controls"]

    assert shipped_studies() == sorted([*listed, "losses", "paper", "settings", "smoke"])


def test_the_studies_on_the_preference_are_in_their_protocol():
    folder = Path(__file__).parents[2] / "studies/preference"
    files = {path for path in folder.glob("*.yaml") if path.stem not in ("recipe", "dev", "quickstart")}
    protocol = (Path(__file__).parents[2] / "docs/study/preference.md").read_text()

    assert files and all(f"`{path.stem}`" in protocol and read_study(str(path)).cells for path in files)


def test_every_shipped_study_is_documented():
    page = (Path(__file__).parents[2] / "docs/studies.md").read_text()

    assert [name for name in shipped_studies() if f"`{name}`" not in page] == []
