"""Any data set of the Hugging Face hub by its columns: "hub:OWNER/NAME?question=COLUMN&answer=COLUMN".

What stands after the "?" of a file of your own may stand here too ([own-data.md](own-data.md)), and `config=`,
`revision=`, and `split=`: the hub's split that all problems come from, such as `split=train`. Without it, train, dev,
and test come from the splits of these names, with validation as dev, or as test where there is no test.
`split=80/10/10` divides the hub's train split. A folder in a format of `datasets` (Parquet, JSON, CSV) may stand in
place of OWNER/NAME.

A run finds the commit that the hub's default branch stands for when it begins, keeps it in its recipe, and stays with
it. Rows are fetched once, into the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache as remembered
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

from srit.errors import DataError
from srit.kinds import Finding
from srit.records import Split
from srit.run_directory import file_lock
from srit.run_directory.files import written
from srit.sums import cache, sum_of
from srit.tasks import Family
from srit.tasks.hub import asking_hub, datasets_installed
from srit.tasks.jsonl import JsonlTask
from srit.tasks.lines import MissingSplit
from srit.tasks.options import options_of

PREFIX = "hub:"
_SPLITS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "dev": ("validation", "dev"),
    "test": ("test", "validation", "dev"),
}
_SHARES = re.compile(r"\d+/\d+/\d+")
_KEPT = ("config", "revision", "split")  # of the hub's, not of the rows'


class DataSet(NamedTuple):
    """A data set, as the name of a task gives it."""

    place: str  # OWNER/NAME, or a folder
    config: str | None
    revision: str | None
    split: str | None  # of the hub, from which all problems come; None: each from that of its name

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return Path(self.place).is_dir()

    def splits(self, split: Split) -> tuple[str, ...]:
        """Return the hub's splits that may have the problems of ours, the best first."""
        return (self.split,) if self.split else _SPLITS[split]

    def file(self, split: Split) -> Path:
        """Return a JSON Lines file of a split's rows, fetched if it is not here yet.

        Raises:
            MissingSplit: there is no such split.
            DataError: it cannot be loaded.
        """
        return _file(self, split, sum_of(Path(self.place)) if self.is_local else self.revision)

    def is_here(self, split: Split) -> bool:
        """Return whether the rows of a split are on this machine already."""
        return self.is_local or (self.revision is not None and _place(self, split, self.revision).exists())

    def source(self, split: Split) -> str:
        """Return what decides a split's rows; the hub is not asked."""
        of = sum_of(Path(self.place)) if self.is_local else self.revision or "as first read"
        return f"{self.place}@{of}, {self.config}, {', '.join(self.splits(split))}"


def data_set_of(task: str) -> DataSet | None:
    """Return the data set of a task; None: the task is of another family."""
    if not task.startswith(PREFIX):
        return None
    place, _, said = task.removeprefix(PREFIX).partition("?")
    found = dict(parse_qsl(said, keep_blank_values=True))
    split = found.get("split")
    divided = split is not None and _SHARES.fullmatch(split)
    return DataSet(place, found.get("config"), found.get("revision"), "train" if divided else split)


def commit_of_data(place: str) -> str | None:
    """Return the commit that a data set's default branch stands for, or None if the hub cannot be reached."""
    from huggingface_hub import HfApi

    try:
        sha = HfApi().dataset_info(place, timeout=20).sha
    except Exception:  # what is wrong is reported when its rows are loaded
        return None
    return sha if isinstance(sha, str) else None


def pinned_task(task: str, commits: Mapping[str, str]) -> str:
    """Return the name of a task with the commit of its data set, if it is known and the name has none.

    Args:
        commits: by "datasets/OWNER/NAME".
    """
    data = data_set_of(task)
    commit = None if data is None or data.revision else commits.get(f"datasets/{data.place}")
    return task if commit is None else f"{task}{'&' if '?' in task else '?'}revision={commit}"


def _place(data: DataSet, split: Split, revision: str) -> Path:
    key = hashlib.sha256(json.dumps([*data, revision, data.splits(split)]).encode()).hexdigest()[:24]
    return cache() / "datasets" / f"{key}.jsonl"


@remembered
def _file(data: DataSet, split: Split, revision: str | None) -> Path:
    place = _place(data, split, revision or "as first read")
    if revision is None or not place.exists():
        rows = _rows(data, split)
        with file_lock(place), written(place) as file:
            for row in rows:
                file.write(json.dumps(row, default=str).encode() + b"\n")
    return place


def _rows(data: DataSet, split: Split) -> Iterable[dict[str, Any]]:
    with asking_hub(data.place):
        from datasets import get_dataset_split_names, load_dataset

        there = get_dataset_split_names(data.place, data.config, revision=data.revision)
        wanted = next((name for name in data.splits(split) if name in there), None)
        if wanted is None:
            raise MissingSplit(f"{data.place}: it has no {split} split, but {', '.join(there)}: name one, split=NAME")
        rows: Iterable[dict[str, Any]] = load_dataset(data.place, data.config, split=wanted, revision=data.revision)
    return rows


def names() -> list[str]:
    """Return no names, as any data set makes a task."""
    return []


def knows(name: str) -> bool:
    """Return whether `make` can make a task of this name."""
    return name.startswith(PREFIX)


def make(name: str) -> JsonlTask:
    """Make the task of a data set.

    Raises:
        DataError: what stands after the "?" cannot be read.
    """
    data = data_set_of(name)
    if data is None or not data.place:
        raise DataError(f"{name}: a data set of the hub is hub:OWNER/NAME?question=COLUMN&answer=COLUMN")
    said = parse_qsl(name.partition("?")[2], keep_blank_values=True)
    if len(dict(said)) < len(said):
        raise DataError(f"{name}: each name may appear only once after the ?")
    ours = [(key, value) for key, value in said if key not in _KEPT or (key == "split" and _SHARES.fullmatch(value))]
    options = options_of("&".join(f"{key}={quote(value, safe='/,:')}" for key, value in ours), name)
    return JsonlTask(Path(data.place), name, options, data)


def kinds(name: str) -> frozenset[str]:
    """Return one kind for all splits of a data set: they are of one domain."""
    data = data_set_of(name)
    return frozenset({name if data is None else f"{PREFIX}{data.place} {data.config or ''}".strip()})


def _doctor() -> list[Finding]:
    return [datasets_installed()]


FAMILY = Family(__doc__, names, knows, make, _doctor, kinds)
