"""Finds what the machine lacked when other software failed: every library words a full disk or memory differently."""

from __future__ import annotations

import ctypes
import errno
import re
import resource
import shutil
from contextlib import suppress
from pathlib import Path

_DISK = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file may not be as large",
}
_BROKEN = {errno.EIO: "input/output error", errno.EROFS: "the file system is read-only"}
_MEMORY = (errno.ENOMEM, errno.EAGAIN)  # EAGAIN: no thread or process can be started
_SAID = re.compile(r"\(os error (\d+)\)")  # as Rust's libraries end their messages
# torch's allocators on processors and GPUs, C++, and Python's threads
_NO_MEMORY = re.compile(
    r"can(?:'|no)t allocate memory|not enough memory|out of memory|bad_alloc|can't start new thread|"
    r"cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_WANTED = re.compile(r"tried to allocate (\d+(?:\.\d+)?) ?(bytes|[KMGT]i?B)", re.IGNORECASE)
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def limit_memory(most: int) -> None:
    """Let this process have so many bytes of address space, or fewer if that is what it was given (`ulimit -v`)."""
    _, given = resource.getrlimit(resource.RLIMIT_AS)
    if given != resource.RLIM_INFINITY:
        most = min(most, given)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def lacking_address_space(needed: int) -> str:
    """Say that this process may not take so many bytes more than it has (`ulimit -v`); "" if it may."""
    free = free_address_space()
    if free is None or free >= needed:
        return ""
    return f"out of memory ({gigabytes(needed)} are needed, {gigabytes(free)} are free of `ulimit -v`)"


def free_address_space() -> int | None:
    """Return the bytes that this process may still take of its limit (`ulimit -v`), or None if it has none."""
    given, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if given == resource.RLIM_INFINITY else max(0, given - address_space())


def address_space() -> int:
    """Return the bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def shortage(error: BaseException, place: Path = Path()) -> str:
    """Say what was lacking, how much was requested and how much is free; "" if the error has another cause.

    Args:
        place: a path on the disk that was written to.
    """
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if number in _DISK:
        return f"{_DISK[number]} at {place.absolute()} ({gigabytes(free_disk(place))} are free)"
    if number in _BROKEN:
        return f"{_BROKEN[number]} at {place.absolute()}"
    if isinstance(error, MemoryError) or number in _MEMORY or _is_of_memory(error):
        wanted = _WANTED.search(str(error))
        asked = f"{gigabytes(_bytes(wanted))} were asked for, " if wanted else ""
        return f"out of memory ({asked}{_free()})"
    return ""


def _free() -> str:
    """Say how much memory this process can still take: what the machine has, or what the process may have."""
    limit, free = free_address_space(), free_memory()
    if limit is not None and limit < free:
        return f"{gigabytes(limit)} are free of `ulimit -v`"
    return f"{gigabytes(free)} are free"


def _number_in(message: str) -> int | None:
    said = _SAID.search(message)
    return int(said[1]) if said else None


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, ImportError):  # by the dynamic linker, as it is on disks from which nothing may be run
        return "failed to map segment" in str(error) and "not permitted" not in str(error)
    return isinstance(error, (RuntimeError, OSError)) and lacks_memory(str(error))


def lacks_memory(said: str) -> bool:
    """Return whether a program's output says that it lacked memory."""
    return _NO_MEMORY.search(said) is not None


def _bytes(wanted: re.Match[str]) -> float:
    return float(wanted[1]) * _UNITS[wanted[2][0].lower()]


def free_disk(place: Path) -> int:
    """Return the bytes that can be written at a path, which need not exist yet."""
    there = next(one for one in (place.absolute(), *place.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def free_memory() -> int:
    """Return the bytes of memory that programs can still take, as the kernel estimates them."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def give_back_memory() -> None:
    """Give the system what this process has freed and the C library still holds; only glibc can."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def gigabytes(n: float) -> str:
    """Write a number of bytes with three digits: "1.23 GB", "510 kB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} bytes"
