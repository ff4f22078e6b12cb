"""A tracker that writes down what it is told, a line each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from srit.trackers import Point, TrackedRun, TrackerKind


class Diary:
    def __init__(self, path: Path, id: str) -> None:
        self.id, self.where, self._path = id, str(path), path

    def log(self, points: Sequence[Point]) -> None:
        for curve, step, metrics in points:
            self._write([curve, step, dict(metrics)])

    def conclude(self, results: Mapping[str, float]) -> None:
        self._write(["results", dict(results)])

    def end(self, *, finished: bool) -> None:
        self._write(["end", finished])

    def _write(self, line: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def begin(run: TrackedRun, id: str | None) -> Diary:
    return Diary(run.folder / "diary.jsonl", id or "1")


TRACKER = TrackerKind("srit_example", "srit-example", "diary: a file", begin)
