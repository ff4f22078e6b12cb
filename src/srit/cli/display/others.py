"""Turns other libraries' messages into lines of ours, each printed once, and hides their progress bars."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from srit.printable import one_line
from srit.watching import Begun, Event, Line, Progressed, Watch


class Heard(logging.Handler):
    """Passes on log records as lines."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a record as a line, unless the line was printed before."""
        ours = record.name.startswith("srit")
        text = one_line(record.getMessage() if ours else f"{record.name}: {record.getMessage()}", 400)
        line = f"{'WARN' if record.levelno >= logging.WARNING else '    '} {text}"
        if line not in self._said:
            self._said.add(line)
            self._watch(Line(line))


@contextmanager
def heard(watch: Watch) -> Iterator[Watch]:
    """Pass on log records while the block runs: srit's notes, and all libraries' warnings.

    Yields:
        A watcher for the events of the work. Transformers is quieted when work begins, or once it is loaded: its import
        takes a second, and a run that has nothing to do prints only a line or two.
    """
    is_quiet = False

    def quieting(event: Event) -> None:
        nonlocal is_quiet
        if not is_quiet and (isinstance(event, (Begun, Progressed)) or "transformers" in sys.modules):
            is_quiet = True
            _quiet_transformers()
        watch(event)

    root, handler = logging.getLogger(), Heard(quieting)
    before, root.handlers = root.handlers, [handler]
    logging.captureWarnings(True)
    try:
        yield quieting
    finally:
        logging.captureWarnings(False)
        root.handlers = before


def _quiet_transformers() -> None:
    """Make transformers log like other libraries and draw no bars; by itself it writes to stderr."""
    from huggingface_hub.utils import logging as hub  # gives its logger a handler of its own
    from transformers.utils import logging as theirs

    hub.enable_propagation()
    logging.getLogger("huggingface_hub").handlers.clear()
    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]
    theirs.disable_default_handler()
    theirs.enable_propagation()
