"""What a worker process runs: chunks arrive and results leave through one connection, and it ends with it."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread

from srit.pipeline.engines.crew import Computing, Event, Failed, Ready, portable


def serve(descriptor: int) -> None:
    """Compute chunks until the other end closes, however its process ended."""
    connection: Connection = Connection(descriptor)
    # Libraries warn each other's users of renamed arguments; our reader cannot act on it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    # The main process reports each event once; workers would write over its display.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sys.path[:] = pickle.loads(connection.recv_bytes())
    messages: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_listen, args=(connection, messages), daemon=True).start()
    computing = Computing()
    _say(connection, Ready())
    while True:
        _compute(connection, computing, messages.get())


def _compute(connection: Connection, computing: Computing, message: bytes) -> None:
    try:
        work, item = pickle.loads(message)
    except Exception as error:
        return _say(connection, Failed(portable(error)))
    built = computing.build(work)
    _say(connection, built)
    if not isinstance(built, Failed):
        _say(connection, computing.chunk(work, item))


def _listen(connection: Connection, messages: SimpleQueue[bytes]) -> None:
    """Take messages while a chunk is computed, so that the other process's end is noticed in the middle of it."""
    while True:
        try:
            messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _say(connection: Connection, event: Event) -> None:
    connection.send_bytes(pickle.dumps(event))
