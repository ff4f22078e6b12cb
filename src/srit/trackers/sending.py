"""Sends a run to a tracker, in a separate thread: a slow or missing server does not delay a training."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from pydantic import TypeAdapter

from srit.keys import masked
from srit.printable import one_line
from srit.run_directory import checked, write_json
from srit.trackers import Point, Tracker

GATHERED_SECONDS = 2.0  # between two messages to a tracker
AGAIN_SECONDS = 60.0  # after one that it did not accept
END_SECONDS = 30.0  # that the end of a run waits for a tracker
STOP_SECONDS = 5.0  # that the end of a stopped run does
SHOWN = 200  # characters of a tracker's error that are shown


class Count(NamedTuple):
    """How much of a stage a tracker has."""

    fingerprint: str
    n: int  # steps of a training; 1: the results


class Sent(NamedTuple):
    """What a tracker has of a run, as recorded beside the run."""

    id: str  # of the tracker's run
    settings: str  # checksum of the settings that it was started with
    stages: dict[str, Count]


_SENT = TypeAdapter(Sent)


def read_sent(place: Path) -> Sent | None:
    """Return what a tracker has; None: nothing is known, so it gets everything in a new tracker run."""
    try:
        return checked(place.read_bytes(), _SENT)
    except (OSError, ValueError):
        return None


class _Message(NamedTuple):
    stage: str
    has: Count  # once it has arrived
    content: Point | Mapping[str, float]


class Sending:
    """A tracker's run, and what it has of ours."""

    def __init__(self, name: str, tracker: Tracker, sent: Sent, place: Path, report: Callable[[str], None]) -> None:
        """
        Args:
            sent: what it has.
            place: the file that records that.
            report: takes a line if it cannot be reached.
        """
        self.name, self._tracker, self._report = name, tracker, report
        self._sent, self._place = sent, place
        self._told = dict(sent.stages)  # what it has once all messages have arrived
        self._messages: SimpleQueue[_Message] = SimpleQueue()
        self._finished, self._is_warned = False, False
        self._ending = threading.Event()
        write_json(place, _SENT.dump_python(sent, mode="json"))
        self._thread = threading.Thread(target=self._send_now_and_then, name=f"report_to {name}", daemon=True)
        self._thread.start()

    def contradicts(self, stage: str, fingerprint: str) -> bool:
        """Return whether it has a version of the stage that was made from something else."""
        return self._told.get(stage, Count(fingerprint, 0)).fingerprint != fingerprint

    def tell(self, stage: str, count: Count, content: Point | Mapping[str, float]) -> None:
        """Send what brings the tracker to a stage's count, unless it has that already, or lacks what comes before."""
        before = self._told.get(stage, Count(count.fingerprint, 0)).n
        if count.n == before + 1:
            self._told[stage] = count
            self._messages.put(_Message(stage, count, content))

    def end(self, *, finished: bool) -> None:
        """Send what is left, and close the tracker's run."""
        self._finished = finished
        self._ending.set()
        self._thread.join(END_SECONDS if finished else STOP_SECONDS)
        if self._told != self._sent.stages:
            self._report(
                f"WARN report_to: {self.name} has not received everything: rerun the same command to send the rest"
            )

    def _send_now_and_then(self) -> None:
        waiting: list[_Message] = []
        is_last = False
        while not is_last:
            is_last = self._ending.wait(AGAIN_SECONDS if waiting else GATHERED_SECONDS)
            while not self._messages.empty():
                waiting.append(self._messages.get())
            if waiting and self._reached(partial(self._send, waiting)):
                waiting = []
        self._reached(partial(self._tracker.end, finished=self._finished))

    def _send(self, messages: Sequence[_Message]) -> None:
        points = [message.content for message in messages if isinstance(message.content, Point)]
        if points:
            self._tracker.log(points)
        for message in messages:
            if not isinstance(message.content, Point):
                self._tracker.conclude(message.content)
        self._sent = self._sent._replace(stages=self._sent.stages | {one.stage: one.has for one in messages})
        write_json(self._place, _SENT.dump_python(self._sent, mode="json"))

    def _reached(self, say: Callable[[], None]) -> bool:
        """Return whether the tracker accepted it, and report the first time that it does not."""
        try:
            say()
        except Exception as error:  # the tracker's own code
            if not self._is_warned:
                self._report(f"WARN report_to: {self.name}: {said(error)}: the run continues, and tries again later")
            self._is_warned = True
            return False
        return True


def said(error: Exception) -> str:
    """Return a tracker's error on one line, without keys that its address or request may contain."""
    return one_line(masked(f"{type(error).__name__}: {error}"), SHOWN)
