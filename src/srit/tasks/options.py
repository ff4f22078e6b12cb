"""What the name of a user's task says after the "?": the columns of its rows, and how they are divided."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl

from srit.errors import DataError
from srit.tasks.formats import OURS
from srit.tasks.own_judge import OwnJudge, own_judge


class Options(NamedTuple):
    """What a task says about its rows."""

    columns: Mapping[str, str] = MappingProxyType({})  # the columns of our fields
    shares: tuple[int, int, int] | None = None  # percent of train, dev and test
    judge: OwnJudge | None = None  # what decides whether an answer is right


NONE = Options()
_OTHERS = ("split", "judge")
_COLUMNS = tuple(name for name in OURS if name != "split")


def options_of(said: str, name: str) -> Options:
    """Read "question=problem&split=80/10/10".

    Args:
        name: the task's, for messages.

    Raises:
        DataError: it is not such a text, or names something unknown.
    """
    pairs = parse_qsl(said, keep_blank_values=True)
    found = dict(pairs)
    if said and (len(found) < len(pairs) or not all(found.values()) or not found):
        raise DataError(f"{name}: give names and values after the ?, such as question=problem&split=80/10/10")
    for unknown in found.keys() - {*_COLUMNS, *_OTHERS}:
        near = difflib.get_close_matches(unknown, [*_COLUMNS, *_OTHERS], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"{name}: {unknown!r}: {hint}there is {', '.join(_COLUMNS)} (a column each), split, and judge")
    columns = {ours: column for ours, column in found.items() if ours in _COLUMNS}
    shares = _shares(found["split"], name) if "split" in found else None
    return Options(columns, shares, own_judge(found["judge"], name) if "judge" in found else None)


def _shares(said: str, name: str) -> tuple[int, int, int]:
    parts = re.fullmatch(r"(\d{1,3})/(\d{1,3})/(\d{1,3})", said)
    train, dev, test = map(int, parts.groups()) if parts else (0, 0, 0)
    if train + dev + test != 100:
        raise DataError(f"{name}: split: {said!r} is not three whole percentages of train/dev/test, such as 80/10/10")
    return train, dev, test
