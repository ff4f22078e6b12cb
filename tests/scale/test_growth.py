"""What the stages of a run take when there are many problems."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from growth import grown

PROBLEMS = int(os.environ.get("PROBLEMS", "1000000"))
MEGABYTES = 500  # beside the imports


@pytest.mark.slow
def test_a_million_problems_go_through_every_stage_in_bounded_memory(tmp_path):
    took = {found["step"]: found for found in grown(tmp_path, PROBLEMS)}

    print("\n", *took.values(), sep="\n")
    assert max(found["megabytes"] for found in took.values()) < MEGABYTES
