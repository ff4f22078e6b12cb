"""Run directories that are copied to object storage, by a real server that fails."""

import os
import time
import uuid

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto")

from storage_server import Once, StorageServer

from srit.api import run_folder
from srit.errors import MachineError, RecipeError
from srit.recipe import read_recipe
from srit.run_directory import Run, StageEntry, write_bytes
from srit.run_directory.mirror import copying, mirror_of, store
from srit.run_directory.mirror.store import Store

ANSWERS = "teacher/answers.jsonl"


@pytest.fixture(scope="module")
def server():
    server = StorageServer()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.variables.items():
            patch.setenv(name, value)
        server.bucket("bucket")
        yield server
    server.close()


@pytest.fixture
def url(server, monkeypatch):
    server.fault = lambda method, path: None
    monkeypatch.setattr(store, "REQUEST_SECONDS", 1)
    monkeypatch.setenv("SRIT_LEASE_SECONDS", "3")
    return f"s3://bucket/{uuid.uuid4().hex}"


def opened(folder, url=None):
    return Run(folder, mirror_of(folder, url, print))


def finish(run, name, data):
    """Do what a stage does."""
    write_bytes(run.path(name), data)
    run.commit(name, StageEntry(fingerprint="f", outputs=run.sums([name]), counts={}, seconds=1.0))


def append(folder, line):
    (folder / "teacher").mkdir(exist_ok=True, parents=True)
    with (folder / ANSWERS).open("ab") as file:
        file.write(line)


def files(folder):
    kept = (".lock", ".mirror.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in kept}


def test_an_empty_machine_has_all_that_is_finished(url, tmp_path):
    run = opened(tmp_path / "a", url)
    finish(run, "problems/train.jsonl", b"problems")
    write_bytes(run.partial("completions", "f" * 20) / "chunk-1.json", b"a chunk")
    append(run.folder, b'{"key": 1}\n')
    (run.folder / ".results.json.partial").write_bytes(b"half a file")
    run.close()

    other = opened(tmp_path / "b", url)

    assert other.is_done("problems/train.jsonl", "f")
    assert (other.partial("completions", "f" * 20) / "chunk-1.json").read_bytes() == b"a chunk"
    other.close()
    made = files(tmp_path / "a")
    del made[".results.json.partial"]
    assert files(tmp_path / "b") == made


def test_what_a_run_has_spent_is_gone_from_its_copy_and_from_every_machine(url, tmp_path):
    run = opened(tmp_path / "a", url)
    finish(run, "part/optimizer", b"moments")
    finish(run, "part/model", b"weights")
    run.close()
    other = opened(tmp_path / "b", url)
    assert other.path("part/optimizer").exists()
    other.spend(["part/optimizer"])
    other.close()

    for place in ("a", "c"):
        again = opened(tmp_path / place, url)
        assert again.is_done("part/optimizer", "f") and again.is_done("part/model", "f")
        again.close()
        assert files(tmp_path / place) == files(tmp_path / "b")
    assert not (tmp_path / "a/part/optimizer").exists()
    assert not Store(url).names("files/part/optimizer")


PARTS = ("leases", "manifests", "files", "appended")


@pytest.mark.parametrize(
    "fault, part", [("hangs", "leases"), *((fault, part) for fault in ("500", "lost") for part in PARTS)]
)
def test_a_put_that_fails_for_a_while_changes_nothing(server, url, tmp_path, fault, part):
    server.fault = Once(fault, "PUT", part, n=1 if fault == "hangs" else 2)
    run = opened(tmp_path / "a", url)
    finish(run, "a.json", b"one")
    append(run.folder, b'{"key": 1}\n')
    run.mirror.answered(free=False)
    finish(run, "a.json", b"two")
    run.close()

    other = opened(tmp_path / "b", url)
    other.close()

    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert (tmp_path / "b/a.json").read_bytes() == b"two"


def test_a_storage_that_fails_for_long_stops_the_run_with_everything_kept(server, url, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TRYING_SECONDS", 1)
    run = opened(tmp_path / "a", url)
    server.fault = Once("500", "PUT", "files", n=10**9)

    with pytest.raises(MachineError, match=r"files/manifest.json.*500 .*rerun the same command"):
        finish(run, "manifest.json", b"{}")
    run.close()
    server.fault = lambda method, path: None
    again = opened(tmp_path / "a")  # it remembers where its mirror is
    again.close()
    other = opened(tmp_path / "b", url)
    other.close()

    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_a_second_machine_waits_for_the_lease(server, url, tmp_path):
    server.requests.clear()
    run = opened(tmp_path / "a", url)
    time.sleep(1.2)
    assert len([r for r in server.requests if r[0] == "PUT" and "leases" in r[1]]) == 3  # it is renewed twice

    with pytest.raises(MachineError, match=rf"process {os.getpid()} on .* is working on this run.* in \d+ s"):
        opened(tmp_path / "b", url)
    run.close()

    opened(tmp_path / "b", url).close()


def test_a_machine_that_was_cut_off_can_neither_spend_nor_write(server, url, tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "COPY_SECONDS", 0.2)
    run = opened(tmp_path / "a", url)
    write_bytes(run.partial("completions", "f" * 20) / "chunk-1.json", b"a chunk")  # no stage says so
    finish(run, "a.json", b"one")
    server.fault = lambda method, path: "500" if "leases/00000001" in path and method == "PUT" else None
    time.sleep(4.5)

    other = opened(tmp_path / "b", url)
    with pytest.raises(MachineError, match="lost its lease"):
        run.mirror.check()
    append(run.folder, b'{"key": "late"}\n')
    with pytest.raises(MachineError, match="lost its lease"):  # and yet the answer is kept
        run.mirror.answered(free=False)
    with pytest.raises(MachineError, match="lost its lease"):
        finish(run, "a.json", b"of the first")
    finish(other, "a.json", b"of the second")
    run.close()
    other.close()

    third = opened(tmp_path / "c", url)
    third.close()
    assert (tmp_path / "c/a.json").read_bytes() == b"of the second"
    assert (third.partial("completions", "f" * 20) / "chunk-1.json").read_bytes() == b"a chunk"
    assert (tmp_path / "c" / ANSWERS).read_bytes() == b'{"key": "late"}\n'
    back = opened(tmp_path / "a")
    back.close()
    assert files(tmp_path / "a") == files(tmp_path / "c")


def test_whoever_puts_the_next_manifest_first_goes_on(url, tmp_path):
    run = opened(tmp_path / "a", url)  # and puts the first
    Store(url).create("manifests/00000002.json", b'{"holder": 2}')

    with pytest.raises(MachineError, match="another process has taken over"):
        finish(run, "a.json", b"one")
    run.close()

    other = opened(tmp_path / "b", url)
    other.close()
    assert files(tmp_path / "b") == {}


def test_the_lease_of_a_process_that_died_in_this_folder_is_void(url, tmp_path):
    run = opened(tmp_path / "a", url)
    finish(run, "a.json", b"one")
    run.mirror._ended.set()  # what a kill leaves: the lease is neither renewed nor ended
    run._lock.close()

    again = opened(tmp_path / "a")
    again.close()


def test_answers_of_both_sides_are_kept(url, tmp_path):
    run = opened(tmp_path / "a", url)
    for number in range(3):
        append(run.folder, b'{"key": %d}\n' % number)
        run.mirror.answered(free=False)
    run.close()
    other = opened(tmp_path / "b", url)
    append(other.folder, b'{"key": "b"}\n')
    other.close()
    append(tmp_path / "a", b'{"key": "a"}\n{"key": "cut off')

    run = opened(tmp_path / "a")
    run.close()

    keys = [b"0", b"1", b"2", b'"b"', b'"a"']
    assert (tmp_path / "a" / ANSWERS).read_bytes() == b"".join(b'{"key": %s}\n' % key for key in keys)


def test_keys_are_also_found_in_a_profile(url, tmp_path, monkeypatch):
    profile = tmp_path / "credentials"
    profile.write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    there = Store(url)
    there.put("x", b"data")

    assert there.get("x") == b"data"


@pytest.mark.parametrize("wrong", ["bucket/run", "s3://bucket", "http://bucket/run"])
def test_a_mirror_has_a_bucket_and_a_folder(tmp_path, wrong):
    with pytest.raises(RecipeError, match="such as s3://bucket/runs/mine"):
        mirror_of(tmp_path, wrong, print)


def test_a_folder_and_a_mirror_of_different_runs_are_not_mixed(url, tmp_path):
    run = opened(tmp_path / "a", url)
    finish(run, "a.json", b"one")
    run.close()
    alone = opened(tmp_path / "b")
    finish(alone, "a.json", b"two")
    alone.close()

    with pytest.raises(RecipeError, match="choose another --out"):
        opened(tmp_path / "b", url)
    with pytest.raises(RecipeError, match="is already mirrored at"):
        opened(tmp_path / "a", f"{url}-other")


def test_a_run_directory_is_a_folder():
    with pytest.raises(RecipeError, match="with --mirror s3://bucket/run"):
        run_folder(read_recipe("quickstart"), "s3://bucket/run")
