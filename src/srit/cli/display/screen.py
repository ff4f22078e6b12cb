"""A terminal: lines about past events, and below them the current work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from srit.cli.display.course import STOPPING, Course, Current, Figures, clock, following, in_words
from srit.printable import one_line, printable
from srit.stopping import is_stopping
from srit.watching import Begun, Event, Watch, as_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.spinner import Spinner
    from rich.table import Table

REFRESHES = 4  # a second
SAID_LINES = 2  # of the screen for an answer
COLORS = {"right": "green", "wrong": "red"}


@contextmanager
def screen(console: Console) -> Iterator[Watch]:
    """Show every event while the block runs, and leave only the lines on the screen."""
    from rich.live import Live

    view = View(console)
    with Live(
        get_renderable=view.shown, console=console, transient=True, refresh_per_second=REFRESHES, redirect_stdout=False
    ):
        yield following(view.progressed, view.happened)


class View:
    """What is on the screen."""

    def __init__(self, console: Console) -> None:
        from rich.spinner import Spinner

        self._console = console
        self._spinner = Spinner("dots")
        self._current = Current()

    def progressed(self, course: Course, now: float) -> None:
        """Take the progress of a piece of work."""
        self._current.progressed(course, now)

    def happened(self, event: Event) -> None:
        """Take any other event: a stage that begins is shown at the bottom; all others become lines."""
        self._current.happened(event)
        if not isinstance(event, Begun) and (line := as_line(event)) is not None:
            self._console.print(printable(line), soft_wrap=True)

    def shown(self) -> RenderableType:
        """Return what is going on: the work, its rates, and the last answer."""
        from rich.console import Group
        from rich.table import Table

        now = time.monotonic()
        figures = self._current.figures(now)
        top = Table.grid(padding=(0, 1), expand=True)
        top.add_column(no_wrap=True)
        top.add_column(no_wrap=True, overflow="ellipsis", ratio=2 if figures else 1)
        if figures is None:
            top.add_row(self._spinner, self._current.wait(now))
        else:
            _add_progress(top, self._spinner, figures)
        details = _details(figures, self._console.width) if figures else ()
        return Group(top, *details, *([f"  {STOPPING}"] if is_stopping() else []))


def _add_progress(top: Table, spinner: Spinner, figures: Figures) -> None:
    from rich.progress_bar import ProgressBar

    top.add_column(ratio=1)
    top.add_column(no_wrap=True)
    top.add_column(no_wrap=True)
    left = "" if figures.seconds_left is None else f"{clock(figures.seconds_left)} left"
    bar = ProgressBar(total=figures.total, completed=figures.done)
    top.add_row(spinner, printable(figures.what), bar, f"{figures.done:,}/{figures.total:,}", left)


def _details(figures: Figures, width: int) -> Iterator[RenderableType]:
    from rich.text import Text

    if words := in_words(figures):
        yield Text(f"  {words}", style="dim", no_wrap=True, overflow="ellipsis")
    if figures.said is not None:
        text, verdict = one_line(figures.said.text, 100 * width), figures.said.verdict
        room = SAID_LINES * (width - 2) - len(verdict) - 4
        shown = text if len(text) <= room else "…" + text[-room:].lstrip()  # the end of an answer has what is judged
        yield Text.assemble("  ", (f"{verdict}: ", COLORS.get(verdict, "yellow")), shown, overflow="fold")
