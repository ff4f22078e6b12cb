"""SHA-256 checksums of what a run reads from outside its directory: a file with changed content is a new input.

Weights take gigabytes, and `srit plan` needs their checksums too. A large file's checksum is therefore cached under its
size, inode and times (mtime and ctime in nanoseconds; no tool can set ctime back). Small files are always read. The
checksum of a file that changed within the last few seconds is not cached, since a second change could leave the same
times. Damage on the disk without a write goes unnoticed in large files.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from srit.run_directory import canonical_sum, sha256_of, write_bytes

LARGE = 16 * 2**20  # bytes; smaller files are read in milliseconds
SETTLED_SECONDS = 3.0  # file systems round times to 2 seconds or finer
NOT_THERE = "not there"  # the sum of a source that is missing


def cache() -> Path:
    """Return the folder where all runs keep converted weights, probes and checksums."""
    return Path(os.environ.get("SRIT_CACHE", Path.home() / ".cache" / "srit"))


def sum_of(path: Path) -> str:
    """Return `sha256_of` a file or folder; the sums of large files may come from the cache."""
    return sha256_of(path, _cached)


def sum_if_there(path: Path) -> str:
    """Return the sum of a file that a recipe names; `NOT_THERE` if there is none."""
    return sum_of(path) if path.is_file() else NOT_THERE


def _cached(path: Path) -> str:
    state = _state(path)
    if state["size"] < LARGE:
        return sha256_of(path)
    place = cache() / "sums" / canonical_sum(state)
    if place.exists():
        return place.read_text()
    began, total = time.time(), sha256_of(path)
    newest = max(state["mtime_ns"], state["ctime_ns"]) / 1e9
    if _state(path) == state and began - newest > SETTLED_SECONDS:
        with suppress(OSError):  # the sum is right whether or not it could be cached
            write_bytes(place, total.encode())
    return total


def _state(path: Path) -> dict[str, int]:
    """Return what every write to a file changes."""
    found = path.stat()
    return {
        "size": found.st_size,
        "inode": found.st_ino,
        "device": found.st_dev,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }
