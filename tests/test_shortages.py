"""What processes may take of the machine."""

import re
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


RENDERED = """
import resource
from srit.shortages import address_space
from srit.students.rendering import Renderer
given = address_space() + ({spare} << 20)
resource.setrlimit(resource.RLIMIT_AS, (given, given))
try:
    Renderer(lambda source, turns, opens: "x" * len(bytes({text} << 20))).render("", [[]], opens=True)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("spare", "text", "message"),
    [
        (100, 300, "MachineError out of memory (537 MB are needed, "),
        (1, 300, "MachineError out of memory (537 MB are needed, "),  # not enough to begin
        (2000, 600, "Unrendered takes more than 512 MiB"),
    ],
)
def test_a_template_is_not_blamed_for_memory_that_it_was_not_given(spare, text, message):
    script = RENDERED.format(spare=spare, text=text)

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said.startswith(message)


LACKING = """
import resource
from srit.shortages import address_space, shortage
given = address_space() + (100 << 20)
resource.setrlimit(resource.RLIMIT_AS, (given, given))
print(shortage(MemoryError()))
"""


def test_what_is_free_is_what_the_process_may_have():
    said = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True, check=True).stdout

    assert re.fullmatch(r"out of memory \(1?[0-9]{2} MB are free of `ulimit -v`\)\n", said)
