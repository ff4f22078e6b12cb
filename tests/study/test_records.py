import json
import math
from pathlib import Path

import pytest
from made_up import IN_DOMAIN, as_record, srit, study_of

from srit.study.records import as_read, read_study_record, study_bytes

KEPT = sorted((Path(__file__).parents[2] / "studies").glob("*/study.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.parent.name)
def test_a_kept_study_is_written_as_it_was_read(path):
    assert study_bytes(read_study_record(path)) == path.read_bytes()


def test_a_failed_run_is_read_without_the_fields_that_came_later():
    study = study_of({"refined": 0.5}, study={"claims": [IN_DOMAIN]})
    study["cells"][0]["runs"][2] = {"seed": 2, "status": "failed"}

    record = as_record(study)

    assert record.cells[0].runs[2].reason == "" and as_read(record) == record


# How a study.json is damaged, and what the error names.
DAMAGED = {
    "no label": (lambda study: study["cells"][0].pop("labels"), "'cells.0.labels' is missing"),
    "no claims": (lambda study: study["study"].pop("claims"), "'study.claims' is missing"),
    "part of a claim": (lambda study: study["study"]["claims"][0].pop("where"), "'study.claims.0.where' is missing"),
    "a model": (lambda study: study["study"]["claims"][0].update(a="refind"), "'refind' is not a model of a run"),
    "a status": (lambda study: study["cells"][0]["runs"][0].update(status="finished"), "'cells.0.runs.0'"),
    "a seed": (lambda study: study["cells"][0]["runs"][0].update(seed=7), "cell 'cot': seed 7"),
    "no run": (lambda study: study["cells"][0].update(runs=[1]), "'cells.0.runs.0'"),
    "no digits": (lambda study: study["cells"][0]["runs"][0]["answers"][0].update(right="012"), "answers.0.right'"),
    "no answer": (lambda study: study["cells"][0]["runs"][0]["answers"][0].update(right=""), "answers.0.right'"),
    "not a number": (lambda study: study["cells"][0]["runs"][0]["answers"][0].update(tokens=math.nan), "tokens'"),
    "half a letter": (
        lambda study: study["cells"][0]["runs"][0]["answers"][0].update(task="\ud800"),
        "escape at line 1",
    ),
    "samples without number": (
        lambda study: study["cells"][0]["runs"][0]["answers"][0].update(pass_at=[8], samples=3, drawn_right=[1]),
        "pass_at, samples and drawn_right do not fit together",
    ),
    "another format": (lambda study: study.update(format=2), "'format': input should be 1"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_study_json_is_refused_with_the_field_at_fault(tmp_path, finished, damage):
    study = json.loads((finished / "study.json").read_bytes())
    change, fault = DAMAGED[damage]
    change(study)
    (tmp_path / "study.json").write_text(json.dumps(study))

    for command in (["report", tmp_path], ["join", tmp_path, "--out", tmp_path / "whole"]):
        done = srit("study", *command)
        assert done.exit_code == 3 and "not a study.json" in done.output and fault in done.output
        assert len(done.output.splitlines()) == 1 and not (tmp_path / "whole").exists()


@pytest.mark.parametrize("command", [["report"], ["compare", "x"], ["claim", "{}"], ["join", "--out", "x"]])
def test_a_study_that_is_not_there_is_refused(tmp_path, command):
    done = srit("study", command[0], tmp_path, *command[1:])

    assert done.exit_code == 3 and "study.json" in done.output
