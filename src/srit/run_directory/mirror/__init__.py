"""A copy of a run directory on object storage, from which another machine resumes: `srit run X --mirror s3://…`.

The run works in its folder, which has the locks, links and renames that object storage lacks. A file that exists there
under its name is complete, so changes can be copied without coordinating with whoever wrote them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from srit.errors import RecipeError
from srit.keys import address_has_key, masked
from srit.run_directory.mirror.mark import MARK, Mark, read_mark

if TYPE_CHECKING:
    from srit.run_directory.mirror.copying import Copying


class Mirror(Protocol):
    """What a run reports to its copy."""

    def begin(self) -> None:
        """Bring the folder up to date with the copy, and keep other processes from working on it.

        Raises:
            MachineError: another process works on it, or the storage cannot be reached.
            RecipeError: the folder holds another run.
        """
        ...

    def committed(self) -> None:
        """Copy what is finished; errors as in `check`, and if the storage cannot be reached."""
        ...

    def answered(self, *, free: bool) -> None:
        """Copy answers before they count; errors as in `committed`. Free ones may wait for others."""
        ...

    def check(self) -> None:
        """
        Raises:
            MachineError: another process may work on the run, so this one must not.
        """
        ...

    def end(self) -> None:
        """Copy what is left, and let another process take over."""
        ...


class NoMirror:
    """There is only the folder."""

    def begin(self) -> None:
        """Do nothing."""

    def committed(self) -> None:
        """Do nothing."""

    def answered(self, *, free: bool) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


def mirror_of(folder: Path, url: str | None, report: Callable[[str], None]) -> Mirror:
    """Return the mirror of a run directory: at `url`, or where it has been so far.

    Raises:
        RecipeError: it is mirrored at another URL, or the URL cannot be used or contains a key, which would be kept.
    """
    if url is not None and address_has_key(url):
        raise RecipeError(
            f"--mirror {masked(url)}: the address contains a key: put keys in environment variables "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        )
    mark = read_mark(folder)
    if mark is not None and url is not None and mark.url != url.rstrip("/"):
        raise RecipeError(
            f"--mirror {url}: {folder} is already mirrored at {mark.url}; use that URL, or, to start another mirror, "
            f"delete {folder / MARK}"
        )
    if mark is None and url is None:
        return NoMirror()
    return _copying(folder, mark or Mark((url or "").rstrip("/"), uuid.uuid4().hex), report)


def _copying(folder: Path, mark: Mark, report: Callable[[str], None]) -> Copying:
    from srit.run_directory.mirror.copying import Copying

    return Copying(folder, mark, report)
