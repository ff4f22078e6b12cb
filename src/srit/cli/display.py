"""What is on screen while a command works: a bar on a terminal, otherwise a line a stage and a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from srit.printable import printable

LINE_SECONDS = 60.0  # between lines of progress where there is no terminal


class Display(NamedTuple):
    """What work reports to."""

    log: Callable[[str], None]  # a line about what happened
    progress: Callable[[str, int, int], None]  # what is being done, how many are done, of how many


@contextmanager
def display() -> Iterator[Display]:
    """Show progress on stderr while the block runs."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        shown: dict[str, TaskID] = {}
        last_line = time.monotonic()

        def line_a_minute(what: str, done: int, total: int) -> None:
            nonlocal last_line
            if time.monotonic() - last_line > LINE_SECONDS:
                last_line = time.monotonic()
                console.print(f"     {what} {done}/{total}", soft_wrap=True)

        def bar(what: str, done: int, total: int) -> None:
            if what not in shown:
                for other in shown.values():
                    bars.update(other, visible=False)
                shown[what] = bars.add_task(what, total=total)
            bars.update(shown[what], completed=done, total=total)

        def log(line: str) -> None:
            console.print(printable(line), soft_wrap=True)

        yield Display(log, bar if console.is_terminal else line_a_minute)
