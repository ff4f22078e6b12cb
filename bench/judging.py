"""How many ordinary answers are judged a second, and how long hostile ones take: `python bench/judging.py`.

The hostile ones are those of tests/tasks/test_hostile.py: 20 families, 50 of each.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/tasks"))
from test_hostile import FAMILIES, GOLDS

from srit.errors import JudgeError
from srit.records import Problem
from srit.tasks import find_task, judge
from srit.tasks.math_judge import decide_by_writing, math_equal

ORDINARY = 1000
CHOICES = ("12 km", "16 km", "18 km", "20 km")


def answers() -> dict[str, list[tuple[str, Problem]]]:
    """Return texts and their problems, by the kind of answer."""
    reasoning = "There are {n} boxes with 3 pens each, so {n} * 3 = {m}, and 7 are taken away. "
    found: dict[str, list[tuple[str, Problem]]] = {"numbers": [], "options": []}
    for n in range(1, ORDINARY + 1):
        text = reasoning.format(n=n, m=3 * n) * 3
        question = f"How many pens are in {n} boxes?"
        number = Problem(f"p{n}", "gsm8k", "test", question, str(3 * n - 7))
        option = Problem(f"p{n}", "commonsense_qa", "test", question, "B", CHOICES)
        found["numbers"].append((f"{text}The answer is {3 * n - 7 + n % 2}.", number))
        found["options"].append((f"{text}The answer is ({'ABCD'[n % 4]}).", option))
    return found


def formulas() -> list[tuple[str, str]]:
    """Return answers and golds that only math-verify can compare."""
    pairs = []
    for n in range(1, ORDINARY + 1):
        pairs.append((rf"(x+{n})(x-{n})", rf"x^2-{n * n + n % 2}"))
        pairs.append((rf"\frac{{{n}\pi}}{{{3 * n}}}+x", r"x+\frac{\pi}{3}"))
        pairs.append((rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n}}}"))
    return [pair for pair in pairs if decide_by_writing(*pair) is None]


def hostile() -> Iterator[tuple[float, str]]:
    """Judge each hostile answer, and yield its seconds and its family."""
    for family, make in FAMILIES.items():
        for number in range(1, 51):
            started = time.perf_counter()
            with contextlib.suppress(JudgeError):
                math_equal(make(number), GOLDS[number % len(GOLDS)])
            yield time.perf_counter() - started, family


def main() -> None:
    """Print the figures."""
    math_equal("(x+1)^2", "x^2+2x+1")  # starts what judges
    for kind, given in answers().items():
        task, started = find_task(given[0][1].task), time.perf_counter()
        right = sum(judge(task, problem, text).verdict == "right" for text, problem in given)
        print(f"{kind}: {len(given) / (time.perf_counter() - started):,.0f} a second ({right} of {len(given)} right)")
    pairs, started = formulas(), time.perf_counter()
    equal = sum(math_equal(*pair) for pair in pairs)
    print(f"formulas: {len(pairs) / (time.perf_counter() - started):,.0f} a second ({equal} of {len(pairs)} equal)")
    seconds = sorted(hostile())
    late = sum(one > 2 for one, _ in seconds)
    print(f"hostile: {len(seconds)}, the longest {seconds[-1][0]:.2f} s ({seconds[-1][1]}), {late} over 2 s")


if __name__ == "__main__":
    main()
