"""How many answers are judged a second, and how long hostile ones take: `python bench/judging.py [EACH [DATA]]`.

The ordinary ones are made up, or with DATA (a folder as bench/audit_recordings.py reads it) also those of recorded
teachers. The hostile ones are those of tests/tasks/test_hostile.py: 20 families, EACH of each (50). Seconds are those
of the processor, in this process and those that it started, so that other work on the machine counts little; hostile
answers have those of the clock, too.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/tasks"))
from audit_recordings import benchmark_of
from test_hostile import FAMILIES, GOLDS

from srit.errors import JudgeError
from srit.records import Problem
from srit.tasks import benchmarks, find_task, judge
from srit.tasks.lines import read_rows
from srit.tasks.math_judge import decide_by_writing, math_equal

ORDINARY = 1000
FORMULAS = 100  # of each kind
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


def recorded(data: Path) -> dict[str, list[tuple[str, Problem]]]:
    """Return what recorded teachers said, the first ones of each recording, and the problems, by benchmark."""
    found: dict[str, list[tuple[str, Problem]]] = {}
    for path in sorted((data / "teachers").glob("*/*.jsonl.gz")):
        name = benchmark_of(path)
        problems = {(p.split, p.id): p for p in benchmarks.make(name).load_all(data / "benchmarks")}
        rows = (row.fields for row in islice(read_rows(path), ORDINARY))
        found.setdefault(name, []).extend((row["output"], problems[row["split"], row["id"]]) for row in rows)
    return found


def formulas() -> list[tuple[str, str]]:
    """Return answers and golds that only math-verify can compare."""
    pairs = []
    for n in range(1, FORMULAS + 1):
        pairs.append((rf"(x+{n})(x-{n})", rf"x^2-{n * n + n % 2}"))
        pairs.append((rf"\frac{{{n}\pi}}{{{3 * n}}}+x", r"x+\frac{\pi}{3}"))
        pairs.append((rf"\sqrt{{{4 * n}}}", rf"2\sqrt{{{n}}}"))
    return [pair for pair in pairs if decide_by_writing(*pair) is None]


def used() -> float:
    """Return the processor seconds of this process and those below it, ended ones included."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        total += sum(process.cpu_times()[:4])
    return total


def hostile(each: int) -> Iterator[tuple[float, float, str]]:
    """Judge hostile answers, and yield for each the processor's and the clock's seconds and its family."""
    for family, make in FAMILIES.items():
        for number in range(1, each + 1):
            before, started = used(), time.perf_counter()
            with contextlib.suppress(JudgeError):
                math_equal(make(number), GOLDS[number % len(GOLDS)])
            yield used() - before, time.perf_counter() - started, family


def main(each: int, data: Path | None) -> None:
    """Print the figures."""
    math_equal("(x+1)^2", "x^2+2x+1")  # starts what judges
    for kind, given in (answers() | (recorded(data) if data else {})).items():
        task, before = find_task(given[0][1].task), used()
        right = sum(judge(task, problem, text).verdict == "right" for text, problem in given)
        print(f"{kind}: {len(given) / (used() - before):,.0f} a second ({right} of {len(given)} right)", flush=True)
    pairs, before = formulas(), used()
    equal = sum(math_equal(*pair) for pair in pairs)
    print(f"formulas: {len(pairs) / (used() - before):,.0f} a second ({equal} of {len(pairs)} equal)", flush=True)
    took = list(hostile(each))
    by_processor, by_clock = [(cpu, family) for cpu, _, family in took], [(wall, family) for _, wall, family in took]
    for name, seconds in (("processor", by_processor), ("clock", by_clock)) if took else ():
        late = sum(one > 2 for one, _ in seconds)
        most, family = max(seconds)
        print(f"hostile, {len(seconds)}, by the {name}: {most:.2f} s at most ({family}), {late} over 2 s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 50, Path(sys.argv[2]) if sys.argv[2:] else None)
