"""Sums of what a run reads from outside of its directory, by content: a changed file is another input.

Weights have gigabytes, and `srit plan` asks for their sums as well: the sum of a large file is remembered with the
file's size, inode and times (mtime and ctime, in nanoseconds: no tool can set ctime back). Small files are always
read, and no sum is remembered of a file that was changed within the last seconds, since a second change may leave the
same times. What is damaged on the disk without a write is not seen in large files.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from srit.run_directory import canonical, sha256_of, write_bytes

LARGE = 16 * 2**20  # bytes: smaller files take some milliseconds to read
SETTLED_SECONDS = 3.0  # file systems keep times to up to 2 seconds


def cache() -> Path:
    """Where converted weights, probes and sums are kept, for all runs."""
    return Path(os.environ.get("SRIT_CACHE", Path.home() / ".cache" / "srit"))


def sum_of(path: Path) -> str:
    """Of a file's bytes, or of a folder's names and bytes; large files may be remembered."""
    return sha256_of(path, _remembered)


def _remembered(path: Path) -> str:
    state = _state(path)
    if state["size"] < LARGE:
        return sha256_of(path)
    place = cache() / "sums" / hashlib.sha256(canonical(state)).hexdigest()
    if place.exists():
        return place.read_text()
    began, total = time.time(), sha256_of(path)
    newest = max(state["mtime_ns"], state["ctime_ns"]) / 1e9
    if _state(path) == state and began - newest > SETTLED_SECONDS:
        with suppress(OSError):  # remembered or not, it is the sum
            write_bytes(place, total.encode())
    return total


def _state(path: Path) -> dict[str, int]:
    """What changes with every write to a file."""
    found = path.stat()
    return {
        "size": found.st_size,
        "inode": found.st_ino,
        "device": found.st_dev,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }
