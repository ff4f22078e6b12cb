"""What a run directory knows about itself: manifest.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field

from srit.errors import DataError
from srit.run_directory.files import Json, canonical_sum, no_constant, sha256_of, write_json
from srit.run_directory.rows import fault_of

MANIFEST = "manifest.json"


class StageEntry(BaseModel, frozen=True, extra="allow"):
    """What the manifest holds about a finished stage.

    Every version of srit has written the fields without a default. Fields of later versions are kept as they are.
    """

    fingerprint: str
    outputs: dict[str, str]  # checksums by path in the run directory
    counts: dict[str, Json]
    seconds: float  # that the stage took when it was made
    # What the fingerprint is the hash of: see `fingerprints.basis`.
    work: str = ""
    version: int | None = None
    settings: Json = None
    inputs: dict[str, str] = {}
    student: str | None = None
    way: Json = None
    sources: dict[str, Json] = {}
    environment: dict[str, str] = {}  # versions of packages
    spent: list[str] = []  # outputs that were removed, since the only stage that needs them is done
    shared: bool = False  # taken from another run
    made_by: str = Field(default="", alias="made by")  # the run it was taken from


class Manifest(BaseModel, frozen=True, extra="allow"):
    """What a run directory knows about itself: manifest.json."""

    stages: dict[str, StageEntry]
    revisions: dict[str, str] = {}  # commits by hub id
    way: dict[str, Json] | None = None  # how the student is computed, and the student for which that holds
    way_of: Json = Field(default=None, alias="way of")
    variant_of: str = Field(default="", alias="variant of")  # the run whose stages and paid answers it shares; relative
    sum: str = ""  # of everything but the seconds, which differ between equal runs; "": an earlier srit wrote it


def is_whole(folder: Path, entry: StageEntry) -> bool:
    """Return whether a finished stage's outputs still have their recorded checksums; what was spent may be gone."""
    return all(
        sha256_of(folder / name) == total if (folder / name).exists() else name in entry.spent
        for name, total in entry.outputs.items()
    )


def recorded_sum(stages: Mapping[str, StageEntry], output: str) -> str:
    """Return the checksum of a finished output; "" if no stage has made it."""
    return next((entry.outputs[output] for entry in stages.values() if output in entry.outputs), "")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a run; before the run has begun, it has no stages.

    Raises:
        DataError: it is damaged; names the file and the field.
    """
    path = folder / MANIFEST
    if not path.exists():
        if made := [name for name in _MADE_FIRST if (folder / name).exists()]:
            raise DataError(
                f"{path}: missing, although {folder / made[0]} was made: restore a copy; or, to make everything again, "
                "start over in another folder"
            )
        return Manifest(stages={})
    if not path.is_file():  # reading a pipe would wait forever
        raise DataError(f"{path}: not a file; {_RESTORE}")
    try:
        tree = json.loads(path.read_bytes(), parse_constant=no_constant)
        manifest = Manifest.model_validate(tree)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}); {_RESTORE}") from None
    if manifest.sum and manifest.sum != _sum_of(tree):
        reason = "damaged (its content does not match the recorded checksum)"
        raise DataError(f'{path}: {reason}; {_RESTORE}. If you changed it yourself, remove "sum" from it')
    return manifest


_MADE_FIRST = ("demonstrations.jsonl", "instructed.json", "results.json")  # by stages that come after the first
_RESTORE = "restore a copy, or start over in another folder"


def _sum_of(manifest: Mapping[str, Json]) -> str:
    """Return a manifest's checksum, without its own `sum` and without seconds."""
    stages = {
        name: {field: value for field, value in entry.items() if field != "seconds"}
        for name, entry in manifest["stages"].items()
    }
    return canonical_sum({**manifest, "stages": stages, "sum": None})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json with the checksum of its content."""
    tree = as_json(manifest)
    write_json(folder / MANIFEST, tree | {"sum": _sum_of(tree)})


def as_json(value: Manifest | StageEntry) -> dict[str, Json]:
    """Return it as it was read, with later changes: an earlier srit's entry does not gain a later one's fields."""
    return value.model_dump(by_alias=True, exclude_unset=True)
