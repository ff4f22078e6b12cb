"""Whatever a model writes is read and judged, in bounded time and memory."""

import resource
import time
from random import Random

import pytest
from drawn import FUZZED, SECONDS, named

from srit.records import Problem
from srit.tasks import find_task, judge
from srit.tasks.math_judge import decide_by_writing

PIECES = [
    *("The answer is ", "#### ", "\\boxed{", "}", "<think>", "</think>", "<answer>", "</answer>", "(A)", "B.", "**"),
    *(
        "\\frac{1}{2}",
        "\\text{",
        "\\left(",
        "\\right)",
        "$",
        "$$",
        "\\[",
        "\\]",
        "^",
        "_",
        "{",
        "(",
        "[",
        "|",
        "\\",
        "=",
    ),
    *("1,000", "-1", "3.14", "1/2", "½", "٣", "²", "１", "1e400", "NaN", "inf", "10^{", "0.\\overline{3}", "%", "km/h"),
    *(
        "one",
        "twenty-",
        "hundred and ",
        "no ",
        "wait, ",
        "not ",
        "or ",
        "and ",
        "so ",
        "x",
        "y = ",
        " ",
        "\n",
        "\t",
        ".",
    ),
    *("\ud800", "\x00", "\u2028", "\u202e", "\x1b[31m", "\U0001f600", "\u0301" * 50, "é", "三"),
]
LONG = [1_000, 20_000, 100_000]  # characters


def text(draw):
    """Pieces in any order, perhaps one of them over and over."""
    said = "".join(draw.choices(PIECES, k=draw.randrange(1, 30)))
    if draw.random() < 0.02:
        piece = draw.choice(PIECES)
        said += piece * (draw.choice(LONG) // len(piece))
    return said + "".join(draw.choices(PIECES, k=draw.randrange(5)))


CHOICES = ("a red door", "2", "1,000", "none of these")
PROBLEMS = [
    Problem("p", "gsm8k", "test", "How many?", "1,000"),
    Problem("p", "math", "test", "What is $x$?", "\\frac{1}{2}"),
    Problem("p", "openbookqa", "test", "Which?", "B", CHOICES),
    Problem("p", "sums", "test", "1 + 1?", "2"),
]


def read_any(problem, said):
    task = find_task(problem.task)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    reading = task.read(said, problem)
    if reading.answer is None or problem.task != "math":  # formulas are compared by a process with its own limits
        assert judge(task, problem, said).verdict in ("right", "wrong", "unread")
    else:
        decide_by_writing(reading.answer, problem.answer)
    assert time.process_time() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kilobytes


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.task)
def test_any_answer_is_read(problem):
    for number in range(FUZZED // len(PROBLEMS)):
        with named(number):
            read_any(problem, text(Random(f"{problem.task}/{number}")))


@pytest.mark.parametrize(("task", "number"), [("gsm8k", 1014), ("math", 1051)])
def test_an_answer_that_once_ended_the_run_is_read(task, number):
    [problem] = [problem for problem in PROBLEMS if problem.task == task]

    read_any(problem, text(Random(f"{task}/{number}")))
