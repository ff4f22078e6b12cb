"""Texts with an even number of letters, on a subject; the empty one counts.

Names: `parity`.
"""

from collections.abc import Iterable
from pathlib import Path

from srit.records import Problem, Split
from srit.tasks import Family, Reading


class Parity:
    name = "parity"
    about = "texts with an even number of letters; generated"
    instruction = "Write a text with an even number of letters."
    has_choices = False

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterable[Problem]:
        for number in range(limit or 100):
            yield Problem(f"{split}-{number}", self.name, split, f"About {number} {split} stations.", "0")

    def source(self, split: Split, *, data: Path | None) -> str:
        return ""

    def phrase(self, problem: Problem) -> str:
        return problem.question

    def read(self, text: str, problem: Problem) -> Reading:
        return Reading(str(len(text) % 2), (0, len(text)), "all letters")

    def equal(self, answer: str, gold: str) -> bool:
        return answer == gold

    def solve(self, problem: Problem) -> str | None:
        return None


FAMILY = Family(__doc__, names=lambda: ["parity"], knows=lambda name: name == "parity", make=lambda name: Parity())
