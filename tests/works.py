"""Works whose chunks do what a test asks for, in whatever process computes them.

A chunk is a word. One that begins with "die" ends its process; "die once" does so only the first time.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from srit.errors import DataError


@dataclass(frozen=True)
class Prefix:
    """Builds its text; leaves a file in `place` for each build, and dies in the first `deaths` of them."""

    text: str
    place: Path
    deaths: int = 0

    def build(self):
        n = len(list(self.place.glob("built-*")))
        (self.place / f"built-{n}-{os.getpid()}").touch()
        if n < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.text


@dataclass(frozen=True)
class Words:
    source: Prefix
    seconds: float = 0.0

    def chunk(self, prefix, word):
        begun = self.source.place / f"begun-{word}-{time.monotonic_ns()}-{os.getpid()}"
        begun.touch()
        if word.startswith("die"):
            earlier = len(list(self.source.place.glob(f"begun-{word}-*"))) - 1
            if word != "die once" or earlier == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if word.startswith("wrong"):
            raise DataError(f"{word}: correct it")
        if word.startswith("bug"):
            raise KeyError(word)
        time.sleep(self.seconds)
        return f"{prefix}{word}".encode()


def n_built(place):
    return len(list(place.glob("built-*")))


def begun(place):
    """The process of every chunk that was begun, by its word."""
    found = [path.name.removeprefix("begun-").rsplit("-", 2) for path in sorted(place.glob("begun-*"))]
    return [(word, int(process)) for word, _, process in found]
