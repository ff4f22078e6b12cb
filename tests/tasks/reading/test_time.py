"""Any text is read in bounded time: what is linear takes a second at most here, what is quadratic takes minutes."""

import subprocess
import sys

SCRIPT = r"""
import faulthandler

from srit.tasks.reading.choices import read_choice
from srit.tasks.reading.formulas import read_math
from srit.tasks.reading.numbers import read_number
from srit.tasks.reading.texts import read_text
from srit.tasks.story.reading import read_answer

PIECES = [
    "9", "1/", "(5", "$", "*", " ", "\n", "<", "#### ", "{", "\\boxed{", "\\[", "5 = 5 ", "one ", "answer", "answer (",
    "the answer is that ", "The answer is not (A), ", "A or ", "A:", "<think>", "</think>", "<answer>", "<|im_end|",
    "~~a~~ ", "wait, ", "No, ", "\nQuestion 1: a", "T. ", "# \n",
]
CHOICES = tuple(f"option number {n} of many words" for n in range(26))
READERS = [
    read_number,
    read_math,
    read_text,
    lambda text: read_choice(text, CHOICES),
    lambda text: read_answer(text, "Who, Tom?", "name"),
]
for piece in PIECES:
    text = "The answer is 3. " + (piece * 100_000)[:100_000] + "5"
    for read in READERS:
        faulthandler.dump_traceback_later(10, exit=True)
        read(text)
"""


def test_hostile_texts_are_read_in_bounded_time():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
