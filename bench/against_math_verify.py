"""Judge recorded math answers with srit and with math-verify alone: python bench/against_math_verify.py [DATA]

"Alone" means math-verify's own reading: its `parse` of the whole text and its `verify` against the gold answer, in a
process that is killed after `SECONDS`. DATA is ../shared/data by default. Prints one Markdown row per teacher, then the
texts on which the two differ.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from srit.records import Problem
from srit.tasks import Judgment, benchmarks, judge
from srit.tasks.lines import read_rows

SECONDS = 10.0  # per text; after that there is no verdict
START_SECONDS = 120.0  # to import sympy
SHOWN = 12  # differences listed per teacher and kind


class Theirs(NamedTuple):
    """math-verify's verdict on a text."""

    right: bool | None  # None: no verdict
    read: str  # what it parsed, or why there is no verdict


class Alone:
    """math-verify in another process, since it runs past its own alarm (its issue #65)."""

    def __init__(self) -> None:
        self._start()

    def verdict(self, text: str, gold: str) -> Theirs:
        """Judge a text; after a time limit, in a new process."""
        self._pipe.send((text, gold))
        if self._pipe.poll(SECONDS):
            return Theirs(*self._pipe.recv())
        self.close()
        self._start()
        return Theirs(None, f"not decided within {SECONDS:g} s")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError("math-verify did not start")
        self._pipe.recv()


def _serve(pipe: Connection) -> None:
    from math_verify import parse, verify

    pipe.send("ready")
    while True:
        text, gold = pipe.recv()
        try:
            parsed = parse(text, parsing_timeout=None)  # ours is the clock
            right = verify(parse(f"${gold}$", parsing_timeout=None), parsed, timeout_seconds=None)
            pipe.send((bool(right), str(parsed)))
        except Exception as error:
            pipe.send((None, f"{type(error).__name__}: {error}"[:200]))


def main(data: Path) -> None:
    task = benchmarks.make("math")
    problems = {(p.split, p.id): p for p in task.load_all(data / "benchmarks")}
    print(f"math-verify {version('math-verify')}\n")
    kinds = ("both correct", "neither", "only srit", "only math-verify", "no verdict")
    print(f"| teacher | n | same verdict | {' | '.join(kinds)} |")
    print(f"| --- |{' ---: |' * 7}")
    alone, listed = Alone(), []
    for path in sorted((data / "teachers").glob("*/math.jsonl.gz")):
        n: Counter[str] = Counter()
        for problem, ours, theirs in _judged(path, problems, alone):
            kind = _kind(ours, theirs)
            n[kind] += 1
            if kind not in kinds[:2] and n[kind] <= SHOWN:
                read = f"srit {ours.verdict} {ours.answer!r:.60} ({ours.reason}); math-verify {theirs.read:.80}"
                listed.append(f"- {path.parent.name} {problem.id}, {kind}: gold {problem.answer!r:.60}; {read}")
        same = n["both correct"] + n["neither"]
        shares = f"{same} ({100 * same / n.total():.1f} %)"
        print("|", " | ".join(map(str, [path.parent.name, n.total(), shares, *(n[k] for k in kinds)])), "|")
    alone.close()
    print("\n" + "\n".join(listed))


def _judged(path: Path, problems: dict[Any, Problem], alone: Alone) -> Iterator[tuple[Problem, Judgment, Theirs]]:
    task = benchmarks.make("math")
    for row in read_rows(path):
        problem, text = problems[row.fields["split"], row.fields["id"]], row.fields["output"]
        yield problem, judge(task, problem, text), alone.verdict(text, problem.answer)


def _kind(ours: Judgment, theirs: Theirs) -> str:
    if theirs.right is None or ours.verdict == "error":
        return "no verdict"
    right = ours.verdict == "right"
    if right == theirs.right:
        return "both correct" if right else "neither"
    return "only srit" if right else "only math-verify"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
