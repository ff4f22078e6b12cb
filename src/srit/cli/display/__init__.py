"""Shows what a command is doing: on a terminal, in a log, or to a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from srit.cli.display.course import Course, following
from srit.printable import printable
from srit.watching import Begun, Event, Line, Made, Taken, Watch

if TYPE_CHECKING:
    from rich.console import Console

Display = Literal["lively", "quiet", "json"]

OBJECT_SECONDS = 1.0  # between JSON objects about one piece of work


def kind_of_display(quiet: bool, as_json: bool) -> Display:
    """Return the display that the options ask for."""
    return "json" if as_json else "quiet" if quiet else "lively"


@contextmanager
def display(kind: Display) -> Iterator[Watch]:
    """Show events while the block runs, including other libraries' warnings, on stderr; JSON goes to stdout."""
    from rich.console import Console

    from srit.cli.display.others import heard
    from srit.cli.display.unread import while_read

    console = Console(stderr=True, markup=False, highlight=False)

    def say(line: str) -> None:
        console.print(printable(line), soft_wrap=True)

    with _shown(kind, console, say) as shown, heard(while_read(shown)) as watch:
        yield watch


def _shown(kind: Display, console: Console, say: Callable[[str], None]) -> AbstractContextManager[Watch]:
    if kind == "json":
        return nullcontext(objects(print_object))
    if kind == "quiet":
        return nullcontext(warnings_alone(say))
    if console.is_terminal:
        from srit.cli.display.screen import screen

        return screen(console)
    from srit.cli.display.log import log

    return log(say)


def warnings_alone(say: Callable[[str], None]) -> Watch:
    """Print only warnings."""

    def watch(event: Event) -> None:
        if isinstance(event, Line) and event.text.lstrip().startswith("WARN"):
            say(event.text)

    return watch


def objects(put: Callable[[Mapping[str, Any]], None]) -> Watch:
    """Turn each event into an object for JSON; progress once a second, and at its end."""
    spoken: dict[str, float] = {}

    def progressed(course: Course, now: float) -> None:
        figures = course.figures(now)
        if figures.done == figures.total or now - spoken.get(figures.what, 0.0) > OBJECT_SECONDS:
            spoken[figures.what] = now
            put({"event": "progress", **asdict(figures), "said": figures.said and figures.said._asdict()})

    def happened(event: Event) -> None:
        match event:
            case Begun(stage):
                put({"event": "begun", "stage": stage})
            case Made(stage, seconds, counts):
                put({"event": "done", "stage": stage, "seconds": seconds, "counts": counts})
            case Taken(stage):
                put({"event": "taken", "stage": stage})
            case Line(text):
                put(_of_line(text.strip()))

    return following(progressed, happened)


def _of_line(text: str) -> dict[str, str]:
    for mark, event in (("WARN", "warning"), ("ok", "check")):
        if text.startswith(f"{mark} "):
            return {"event": event, "message": text.removeprefix(mark).strip()}
    return {"event": "note", "message": text}


def print_object(found: Mapping[str, Any]) -> None:
    """Print one line of JSON on stdout, in ASCII for any terminal, flushed so that a reader sees it at once."""
    print(json.dumps(found), flush=True)
