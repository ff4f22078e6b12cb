"""What other libraries say while a command works: as lines of ours, each said once, and none of their bars."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from srit.printable import one_line
from srit.watching import Begun, Event, Line, Progressed, Watch


class Heard(logging.Handler):
    """Hands on what loggers say as lines."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record as a line, unless it was said before."""
        ours = record.name.startswith("srit")
        text = one_line(record.getMessage() if ours else f"{record.name}: {record.getMessage()}", 400)
        line = f"{'WARN' if record.levelno >= logging.WARNING else '    '} {text}"
        if line not in self._said:
            self._said.add(line)
            self._watch(Line(line))


@contextmanager
def heard(watch: Watch) -> Iterator[Watch]:
    """Hand on what loggers say while the block runs: srit's notes, and the warnings of all.

    Yields:
        What takes the events of the work. Transformers is quieted when work begins, or once it is loaded: its import
        takes a second, and a run that has nothing to do only says a line or two.
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
    """Let transformers log as others do and draw no bars: otherwise it writes to stderr by itself."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as theirs

    hub.enable_propagation()
    logging.getLogger("huggingface_hub").handlers.clear()
    theirs.disable_progress_bar()  # type: ignore[no-untyped-call]
    theirs.disable_default_handler()
    theirs.enable_propagation()
