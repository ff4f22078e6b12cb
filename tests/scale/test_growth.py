"""What the stages of a run take when there are many problems."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from growth import grown, grown_from_written

PROBLEMS = int(os.environ.get("PROBLEMS", "1000000"))
MEGABYTES = 500  # beside the imports


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a few problems, and what its steps took."""
    folder = tmp_path_factory.mktemp("made")
    return folder, list(grown(folder, 20))


def check(took):
    print("\n", *took, sep="\n")
    assert max(found["megabytes"] for found in took) < MEGABYTES


def test_a_few_problems_go_through_every_stage(made):
    check(made[1])


@pytest.mark.slow
def test_problems_go_through_every_stage_in_bounded_memory(tmp_path):
    check(list(grown(tmp_path, PROBLEMS)))


def test_a_written_run_has_the_records_of_one_that_was_made(made, tmp_path):
    folder, _ = made
    check(list(grown_from_written(tmp_path, 20)))

    files = ("problems/train", "demonstrations", "round-1/completions", "round-1/pairs", "predictions/base/*")
    for name in files:
        [[one], [other]] = ((run / "run").glob(f"{name}.jsonl") for run in (folder, tmp_path))
        moved = one.read_text().replace(str(folder), str(tmp_path)).replace(f'"{folder.name}"', f'"{tmp_path.name}"')
        assert other.read_text() == moved
