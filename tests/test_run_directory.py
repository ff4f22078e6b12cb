"""The run directory: what is written whole, read back and checked."""

import errno
import json
import os
import re
from contextlib import closing

import pytest
from safetensors import SafetensorError

from srit.errors import DataError, MachineError, RecipeError
from srit.records import Completion, Demonstration, Prediction
from srit.run_directory import (
    Run,
    StageEntry,
    building,
    read_manifest,
    read_records,
    spend_shared,
    write_bytes,
    write_records,
)


def test_two_processes_do_not_share_a_run(tmp_path):
    holder = rf"another srit process is running here \(process {os.getpid()} on \S+ since 20"
    with closing(Run(tmp_path / "run")), pytest.raises(MachineError, match=holder):
        Run(tmp_path / "run")

    Run(tmp_path / "run").close()


@pytest.mark.parametrize("is_begun_again", [False, True])
def test_a_run_whose_folder_is_moved_records_nothing_where_it_was(tmp_path, is_begun_again):
    entry = StageEntry(fingerprint="f", outputs={}, counts={}, seconds=0.0)
    with closing(Run(tmp_path / "run")) as run:
        (tmp_path / "run").rename(tmp_path / "moved")
        if is_begun_again:
            Run(tmp_path / "run").close()

        with pytest.raises(MachineError, match=r"run: moved or deleted while a run worked in it"):
            run.commit("problems", entry)

    assert not (tmp_path / "run/manifest.json").exists()


def test_a_folder_that_was_not_finished_is_not_there(tmp_path):
    with pytest.raises(RuntimeError), building(tmp_path / "model") as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError

    assert not (tmp_path / "model").exists()


COMPLETION = Completion("p", "sums", "cot", 0, "2\u2028", (5, 7), -1.5, False, "2", "right", 1.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "recursion"),
        ("[1]", r"input should be an object, not \[1\]"),
        ("{}", "the field 'problem_id' is missing"),
        ({"index": "0"}, "the field 'index': input should be a valid integer, not '0'"),
        ({"index": True}, "the field 'index': input should be a valid integer, not True"),
        ({"truncated": 0}, "the field 'truncated': input should be a valid boolean, not 0"),
        ({"answer": 2}, "the field 'answer': input should be a valid string, not 2"),
        (
            {"verdict": "rihgt"},
            "the field 'verdict': input should be 'right', 'wrong', 'unread' or 'error'",
        ),
        ({"token_ids": [5, "7"]}, "the field 'token_ids.1': input should be a valid integer, not '7'"),
        (
            {"token_ids": [5, "7"], "text": "\ud800"},
            "the field 'token_ids.1': input should be a valid integer, not '7'",
        ),
        ({"token_ids": {}}, "the field 'token_ids': input should be a valid array, not {}"),
    ],
)
def test_a_damaged_record_is_named_by_its_file_line_and_field(tmp_path, line, message):
    path = tmp_path / "completions.jsonl"
    write_records(path, [COMPLETION])
    row = json.loads(path.read_bytes())
    path.write_text(path.read_text() + (json.dumps(row | line) if isinstance(line, dict) else line) + "\n")

    with pytest.raises(DataError, match=rf"completions\.jsonl:2: .*{message}"):
        read_records(path, Completion)


def test_a_record_of_a_later_srit_is_read_without_its_new_fields(tmp_path):
    path = tmp_path / "completions.jsonl"
    write_records(path, [COMPLETION])
    row = json.loads(path.read_bytes())

    path.write_text(json.dumps({**row, "new": 1, "logp": -2}) + "\n\n" + json.dumps(row))

    later, plain = read_records(path, Completion)
    assert (plain, later.logp, type(later.logp)) == (COMPLETION, -2.0, float)


def test_records_survive_the_way_to_disk_and_back(tmp_path):
    record = Prediction("p", "sums", "cot", 0, "a\x85b\ud800", 3, False, None, (1, 2), "none", "unread")
    demonstration = Demonstration("p", "sums", "t", "\u2028\U0001f600", None, "unread", False, "unread")

    write_records(tmp_path / "predictions.jsonl", [record])
    write_records(tmp_path / "demonstrations.jsonl", [demonstration])

    assert read_records(tmp_path / "predictions.jsonl", Prediction) == [record]
    assert read_records(tmp_path / "demonstrations.jsonl", Demonstration) == [demonstration]
    assert b'"span": [1, 2]' in (tmp_path / "predictions.jsonl").read_bytes()
    assert rb"a\u0085b\ud800" in (tmp_path / "predictions.jsonl").read_bytes()


# ----------------------------------------------------------------------------------------------------- manifest


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ("{}", "the field 'stages' is missing"),
        ('{"stages": []}', "the field 'stages'"),
        ('{"stages": {"problems": null}}', "the field 'stages.problems'"),
        ('{"stages": {"problems": "done"}}', "the field 'stages.problems'"),
        ('{"stages": {"problems": {"fingerprint": "x"}}}', "the field 'stages.problems.outputs' is missing"),
        ('{"stages": {"problems": {"fingerprint": "x", "outputs": []}}}', "the field 'stages.problems.outputs'"),
        ('{"stages":', "Expecting value"),
        ('{"stages": {}, "x": NaN}', "NaN is not JSON"),
    ],
)
def test_a_damaged_manifest_is_named_by_its_file_and_field(tmp_path, manifest, field):
    (tmp_path / "manifest.json").write_text(manifest)

    with pytest.raises(DataError, match=rf"manifest\.json: damaged \({field}.*restore a copy"):
        read_manifest(tmp_path)


def test_a_manifest_keeps_what_other_versions_of_srit_wrote_and_gains_nothing(tmp_path):
    entry = {"fingerprint": "x", "outputs": {}, "counts": {"n": 1}, "seconds": 1.5}
    others = {"earlier": entry, "later": {**entry, "student": None, "made by": "a/seed-0", "new": [1]}}
    (tmp_path / "manifest.json").write_text(json.dumps({"stages": others, "way of": None, "new": 2}))

    with closing(Run(tmp_path)) as run:
        run.commit("problems", StageEntry(**entry))

    written = json.loads((tmp_path / "manifest.json").read_bytes())
    assert len(written.pop("sum")) == 64
    assert written == {"stages": {**others, "problems": entry}, "way of": None, "new": 2}


def test_a_manifest_whose_content_changed_is_refused_unless_its_sum_is_removed(tmp_path):
    path, entry = tmp_path / "manifest.json", StageEntry(fingerprint="x", outputs={}, counts={"n": 1}, seconds=1.5)
    with closing(Run(tmp_path)) as run:
        run.commit("problems", entry)
    written = json.loads(path.read_bytes())

    path.write_text(json.dumps(written).replace('"n": 1', '"n": 3'))
    with pytest.raises(DataError, match=r'does not match the recorded checksum.* remove "sum"'):
        read_manifest(tmp_path)

    for allowed in (json.dumps(written).replace("1.5", "2.5"), json.dumps({"stages": written["stages"]})):
        path.write_text(allowed)
        assert read_manifest(tmp_path).stages.keys() == {"problems"}


def test_a_run_whose_manifest_is_missing_does_not_start_over(tmp_path):
    (tmp_path / "demonstrations.jsonl").write_text("")

    with pytest.raises(DataError, match=r"manifest\.json: missing, although .*demonstrations\.jsonl was made: restore"):
        Run(tmp_path)


@pytest.mark.parametrize("name", [".lock", "teacher/answers.size", "teacher", "problems", ".partial/instructed"])
def test_nothing_is_written_through_a_link_out_of_the_folder(tmp_path, name):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (folder / "real").mkdir(parents=True)
    (folder / "within").symlink_to("real")
    Run(folder).close()

    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere)

    with pytest.raises(RecipeError, match=rf"{re.escape(name)}: this is a link to \S*elsewhere"):
        Run(folder)
    assert elsewhere.read_text() == "precious"


def test_a_full_disk_is_told_with_what_is_needed_and_free(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match=r"no space left at .* \(\d.* are free\), and 5 bytes are needed; fix this"):
        write_bytes(tmp_path / "file", b"12345")
    with pytest.raises(MachineError, match="no space left"), building(tmp_path / "folder"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    assert not list(tmp_path.iterdir())


@pytest.fixture
def runs(tmp_path):
    with closing(Run(tmp_path / "first")) as first, closing(Run(tmp_path / "second")) as second:
        yield first, second


def test_a_stage_shared_by_another_run_is_taken_unless_it_is_damaged(tmp_path, runs):
    first, second = runs
    first.path("answers").write_text("42")
    entry = StageEntry(fingerprint="x", outputs=first.sums(["answers"]), counts={}, seconds=1.0)
    first.commit("teacher", entry)
    first.share("teacher", ["answers"], tmp_path / "pool/x")

    assert second.adopt("student", ["renamed"], tmp_path / "pool/x")
    assert second.path("renamed").read_text() == "42" and second.is_done("student", "x")
    assert second.manifest.stages["student"].shared
    assert read_manifest(second.folder).stages == second.manifest.stages

    (tmp_path / "pool/x/entry.json").write_text("{")
    assert not second.adopt("other", ["other"], tmp_path / "pool/x")
    assert not (tmp_path / "pool/x").exists()


OPTIMIZER = "optimizer"
OUTPUTS = ["model", OPTIMIZER]


def trained(run):
    """Records a stage whose second output only one other stage needs."""
    for name in OUTPUTS:
        run.path(name).write_text(name)
    run.commit("training", StageEntry(fingerprint="x", outputs=run.sums(OUTPUTS), counts={}, seconds=1.0))


def test_a_stage_whose_output_was_spent_stays_done_until_that_is_needed_again(tmp_path):
    with closing(Run(tmp_path / "run")) as run:
        trained(run)
        run.path(OPTIMIZER).rename(tmp_path / "kept")
        assert not run.is_done("training", "x")  # lost, and not spent

        (tmp_path / "kept").rename(run.path(OPTIMIZER))
        run.spend([OPTIMIZER])
        assert not run.path(OPTIMIZER).exists() and run.is_done("training", "x")
        assert read_manifest(run.folder).stages == run.manifest.stages
        run.path(OPTIMIZER).write_text("other bytes")
        assert not run.is_done("training", "x")

        run.path(OPTIMIZER).unlink()
        run.reclaim(["training"])
        assert not run.is_done("training", "x") and read_manifest(run.folder).stages == run.manifest.stages
        trained(run)
        assert run.is_done("training", "x") and "spent" not in (run.folder / "manifest.json").read_text()


def test_what_was_spent_is_taken_by_no_run_that_needs_it(tmp_path, runs):
    first, second = runs
    trained(first)
    first.share("training", OUTPUTS, tmp_path / "pool/x")
    spend_shared(tmp_path / "pool/x", 1)

    assert second.adopt("training", OUTPUTS, tmp_path / "pool/x")
    assert second.is_done("training", "x") and not second.path(OPTIMIZER).exists()
    second.reclaim(["training"])
    assert not second.adopt("training", OUTPUTS, tmp_path / "pool/x") and (tmp_path / "pool/x/0").exists()

    (tmp_path / "pool/x/0").unlink()  # lost, and not spent
    assert not second.adopt("training", OUTPUTS, tmp_path / "pool/x") and not (tmp_path / "pool/x").exists()


def test_a_run_that_has_spent_an_output_shares_the_others(tmp_path, runs):
    first, second = runs
    trained(first)
    first.spend([OPTIMIZER])
    first.share("training", OUTPUTS, tmp_path / "pool/x")

    second.path(OPTIMIZER).write_text("of an earlier training")
    assert second.adopt("training", OUTPUTS, tmp_path / "pool/x")
    assert second.is_done("training", "x") and not second.path(OPTIMIZER).exists()
