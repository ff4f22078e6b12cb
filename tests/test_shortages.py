"""What processes may take of the machine."""

import subprocess
import sys

import pytest

LIMITED = """
import resource
from srit.shortages import limit_memory
resource.setrlimit(resource.RLIMIT_AS, ({given}, {given}))
limit_memory({most})
print(*resource.getrlimit(resource.RLIMIT_AS))
"""


@pytest.mark.parametrize(("given", "most", "left"), [(3 << 30, 8 << 30, 3 << 30), (-1, 8 << 30, 8 << 30)])
def test_a_process_that_may_take_less_memory_is_not_given_more(given, most, left):
    script = LIMITED.format(given=given, most=most)

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said.split() == [str(left)] * 2
