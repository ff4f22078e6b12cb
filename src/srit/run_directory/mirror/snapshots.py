"""What a mirror holds, in numbered objects: each number can be written only once, so whoever writes it is in charge."""

from __future__ import annotations

from pydantic import BaseModel

from srit.errors import DataError
from srit.run_directory.mirror.store import Store
from srit.run_directory.rows import fault_of


class Copied(BaseModel, frozen=True):
    """A file of the run directory that the mirror holds."""

    sum: str  # SHA-256
    size: int
    fence: int  # of the process that wrote it: one that lost its lease removes nothing that a later one has written

    def key(self, name: str) -> str:
        """Return its object; `name` is its path in the run directory."""
        return f"files/{name}/{self.sum}-{self.fence}"


class Snapshot(BaseModel, frozen=True):
    """All files of a run directory at one moment."""

    holder: int = 0  # the fence of the process that wrote it
    files: dict[str, Copied] = {}
    # By file of answers and fence: how many of the appended objects are already in the file as it is in `files`.
    appended: dict[str, dict[str, int]] = {}


def newest(store: Store, after: int = 0) -> tuple[int, Snapshot]:
    """Return the newest snapshot and its number; 0 and an empty one if there is none.

    Args:
        after: the number of an earlier one.

    Raises:
        DataError: it is damaged.
    """
    numbers = store.names(_FOLDER, after=_name(after - 1) if after > 1 else "")
    if not numbers:
        return 0, Snapshot()
    data = store.get(f"{_FOLDER}/{numbers[-1]}") or b""
    try:
        return int(numbers[-1].partition(".")[0]), Snapshot.model_validate_json(data)
    except ValueError as error:
        raise DataError(
            f"{store.url}/{_FOLDER}/{numbers[-1]}: damaged ({fault_of(error)}); remove it to continue from the "
            "previous one"
        ) from None


def put_next(store: Store, number: int, snapshot: Snapshot) -> bool:
    """Write a snapshot under the next number, and return whether no other process had done so."""
    return store.create(f"{_FOLDER}/{_name(number)}", snapshot.model_dump_json(indent=1).encode())


_FOLDER = "manifests"


def _name(number: int) -> str:
    return f"{number:08d}.json"
