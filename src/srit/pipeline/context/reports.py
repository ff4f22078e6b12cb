"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from srit.records import Check
from srit.run_directory import Json

Progress = Callable[[str, int, int], None]  # what, done, of how many
Report = Callable[[str], None]  # a line


@dataclass(frozen=True, slots=True)
class Reports:
    """Where lines and progress go."""

    report: Report
    progress: Progress

    def of(self, what: str) -> Callable[[int, int], None]:
        """Return the progress of one thing: called with how much is done, of how much."""
        return lambda done, total: self.progress(what, done, total)

    def check(self, name: str, ok: bool, line: str) -> Json:
        """Report something that must be true, and return it for the record."""
        self.report(f"{'ok  ' if ok else 'WARN'} {line}")
        return asdict(Check(name, ok, line))
