"""A study goes on from its copy on object storage."""

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto")

from made_up import srit
from storage_server import StorageServer

URL = "s3://bucket/studies/tiny"


@pytest.fixture
def storage(monkeypatch):
    server = StorageServer()
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    server.bucket("bucket")
    yield server
    server.close()


def results(out):
    """With the times at which the runs were finished."""
    return {path.parent.parent.name: path.read_bytes() for path in out.glob("runs/*/seed-0/results.json")}


@pytest.mark.slow
def test_what_was_made_of_a_study_elsewhere_is_not_made_again(storage, tiny_study, finished, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    begun = srit("study", tiny_study, "seeds=[0]", "--out", there, "--mirror", URL)
    assert begun.exit_code == 0, begun.output

    done = srit("study", tiny_study, "--out", here, "--mirror", URL, "--workers", 2)

    assert done.exit_code == 0, done.output
    assert (here / "study.json").read_bytes() == (finished / "study.json").read_bytes()
    assert results(here) == results(there) and len(results(here)) == 3
    again = srit("study", tiny_study, "--out", tmp_path / "again", "--mirror", URL)
    assert again.exit_code == 0 and "continuing from s3://bucket/studies/tiny/runs/cot/seed-1" in again.output
    assert results(tmp_path / "again") == results(there)
    other = srit("study", tiny_study, "--out", here, "--mirror", "s3://bucket/other")
    assert other.exit_code == 2 and f"is already mirrored at {URL}" in other.output
