"""What a run reports while it is working."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from srit.records import Check
from srit.run_directory import Json
from srit.watching import Counted, Line, Progressed, Said, Watch

Progress = Callable[[str, int, int], None]  # what, done, of how many
Report = Callable[[str], None]  # a line


@dataclass(frozen=True, slots=True)
class Reports:
    """Where lines and progress go."""

    watch: Watch

    def report(self, line: str) -> None:
        """Report a line."""
        self.watch(Line(line))

    def of(self, what: str, unit: str = "answers", *, earlier: int | None = None) -> Counted:
        """Return the progress of one piece of work: a function of the amount done and the total.

        Args:
            earlier: as in `Progressed`.
        """

        def counted(done: int, total: int, said: Callable[[], Iterator[Said]] = lambda: iter(()), /) -> None:
            self.watch(Progressed(what, done, total, unit, earlier, said=said))

        return counted

    def steps(self, what: str) -> Callable[[int, int, Mapping[str, float]], None]:
        """Return the progress of a training: a function of the steps so far, their total, and the last metrics."""

        def stepped(done: int, total: int, metrics: Mapping[str, float]) -> None:
            n_tokens = int(metrics.get("tokens", 0))
            self.watch(Progressed(what, done, total, "steps", n_tokens=lambda: n_tokens, metrics=metrics))

        return stepped

    def check(self, name: str, ok: bool, line: str) -> Json:
        """Report something that must be true, and return a record of it."""
        self.report(f"{'ok  ' if ok else 'WARN'} {line}")
        return asdict(Check(name, ok, line))
