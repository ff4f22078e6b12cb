"""Shows whether the machines that compute a study's cells are of one kind, whatever each cell begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srit.compute.mapping import NOTHING, Nothing
from srit.recipe import Student
from srit.run_directory import canonical, file_lock, read_json, write_json
from srit.students.sources import FrozenSource, ScoringWork

TEXT = tuple(range(1, 65))  # token ids that every vocabulary has; the second half is scored


@dataclass(frozen=True, slots=True)
class CanaryWork:
    """Computes a short text's log-probabilities under a student, in each precision that may be used."""

    student: Student
    source: Nothing = NOTHING

    def chunk(self, built: None, text: Sequence[int]) -> bytes:
        """Return them as a run's works would."""
        from srit.compute.rows import Group

        group = Group(tuple(text[: len(text) // 2]), (tuple(text[len(text) // 2 :]),))
        stated = self.student.dtype
        students = [
            self.student.model_copy(update={"dtype": dtype})
            for dtype in (("float32", "bfloat16") if stated == "auto" else (stated,))
        ]
        works = [ScoringWork(FrozenSource(student, None), "alone", 512, 512, by_token=True) for student in students]
        return canonical([work.chunk(work.source.build(), [group]).decode() for work in works])


class Canary(NamedTuple):
    """The work, and the first machine's result, for all the processes that send it out."""

    work: CanaryWork
    kept: Path  # the sum of that
    text: tuple[int, ...] = TEXT

    def first(self, total: str, place: str) -> tuple[str, str]:
        """Return the checksum of the first machine's result and its name; the given ones if there are none yet."""
        with file_lock(self.kept):
            if not self.kept.exists():
                write_json(self.kept, [total, place])
            kept_total, kept_place = read_json(self.kept)
        return kept_total, kept_place
