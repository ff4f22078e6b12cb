"""A lease in place of the lock that object storage lacks: only one process at a time works on a run.

Leases are numbered: a process takes one by creating the object of the next number, which only one process can do. Its
holder rewrites it regularly; one that was not rewritten for its duration has expired, by the storage's own clock. The
number is the fence: whoever holds a later one decides (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid

from srit.errors import MachineError, RecipeError
from srit.run_directory.files import Json, json_bytes
from srit.run_directory.mirror.store import Store

SECONDS = 120.0
LEAST = 3.0  # the storage's times are whole seconds
ROUNDING = 1.0  # of the storage's times


class Lease:
    """The right to work on a run, for as long as it is renewed."""

    def __init__(self, store: Store, place: str) -> None:
        """Take the lease.

        Args:
            place: names the local folder, which this process has locked: a lease of an earlier process there is void.

        Raises:
            MachineError: another process has it.
        """
        self._store = store
        self.seconds = seconds()
        taken = store.names(_FOLDER)
        if taken and (wait := _seconds_left(store, taken[-1], place)) is not None:
            raise _held(store, taken[-1], wait)
        self.fence = int(taken[-1]) + 1 if taken else 1
        self._said: dict[str, Json] = {
            "holder": uuid.uuid4().hex,
            "process": f"process {os.getpid()} on {socket.gethostname()}",
            "place": place,
            "seconds": self.seconds,
            "ended": False,
        }
        asked = _now()
        if not store.create(_key(self.fence), json_bytes(self._said)):
            raise _held(store, f"{self.fence:08d}", self.seconds)
        self._until = asked + self.seconds
        self._lost = False

    def renew(self) -> None:
        """Rewrite it, and check whether another process has taken the next one.

        Raises:
            MachineError: the storage cannot be reached.
        """
        asked = _now()
        if self._store.names(_FOLDER, after=f"{self.fence:08d}"):
            self._lost = True
            return
        self._store.put(_key(self.fence), json_bytes(self._said))
        # Counted from before the request: when it arrived is not known.
        self._until = asked + self.seconds

    def check(self) -> None:
        """
        Raises:
            MachineError: it is lost, or may be, so nothing more may be spent.
        """
        if self._lost or _now() > self._until:
            why = "another process has taken over" if self._lost else f"no contact for {self.seconds:.0f} s"
            raise MachineError(
                f"{self._store.url}: this process has lost its lease of the run ({why}); what it made is in its own "
                "folder. Let only one process at a time work on it"
            )

    def lose(self) -> None:
        """Note that another process has taken over."""
        self._lost = True

    def end(self) -> None:
        """Let another process take over at once."""
        self._store.put(_key(self.fence), json_bytes({**self._said, "ended": True}))


def seconds() -> float:
    """Return how many seconds a lease holds without being renewed.

    Raises:
        RecipeError: SRIT_LEASE_SECONDS is not such a number.
    """
    stated = os.environ.get("SRIT_LEASE_SECONDS", str(SECONDS))
    if (not stated.isdecimal() and stated != str(SECONDS)) or float(stated) < LEAST:
        raise RecipeError(f"SRIT_LEASE_SECONDS is {stated!r}: give whole seconds, at least {LEAST:.0f}")
    return float(stated)


def _seconds_left(store: Store, name: str, place: str) -> float | None:
    """Return how many seconds a lease may still hold; None: it does not."""
    said = json.loads(store.get(f"{_FOLDER}/{name}") or b"{}")
    if said.get("ended") or said.get("place") == place:
        return None
    left = float(said.get("seconds", SECONDS)) + ROUNDING - store.age(f"{_FOLDER}/{name}")
    return left if left > 0 else None


def _held(store: Store, name: str, wait: float) -> MachineError:
    said = json.loads(store.get(f"{_FOLDER}/{name}") or b"{}")
    return MachineError(
        f"{store.url}: {said.get('process', 'another process')} is working on this run: wait for it to finish, or stop "
        f"it. If it is lost, run the same command again in {max(1, wait):.0f} s"
    )


_FOLDER = "leases"


def _key(fence: int) -> str:
    return f"{_FOLDER}/{fence:08d}"


def _now() -> float:
    """Return a clock that keeps running while the machine sleeps, if there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
