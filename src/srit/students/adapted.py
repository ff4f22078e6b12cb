"""Students that are adapters: finds their base, so that training continues the adapter itself."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srit.errors import DataError
from srit.recipe import Student
from srit.students.embedded import EMBEDDED

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_FETCHED = (ADAPTER, WEIGHTS, "README.md", "generation_config.json", "*token*", "*.jinja", "merges.txt", "vocab*")


@contextmanager
def peft_may_use_old_names() -> Iterator[None]:
    """Hide a warning of transformers 5 to PEFT 0.21, which whoever runs a notebook would read once per model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter."""
    return (folder / ADAPTER).is_file()


def is_on_hub(student: Student) -> bool:
    """Return whether a student's name is a hub id."""
    return student.model not in EMBEDDED and not Path(student.model).is_dir()


def adapter_of(student: Student) -> Path | None:
    """Return the folder of a student that is an adapter; None: it has its own weights.

    One on the hub is known to be an adapter once `fetch_adapter` has fetched it. The hub is not asked.
    """
    if is_on_hub(student):
        from huggingface_hub import try_to_load_from_cache

        with suppress(ValueError):  # it cannot be a hub id
            found = try_to_load_from_cache(student.model, ADAPTER, revision=student.revision)
            return Path(found).parent if isinstance(found, str) else None
        return None
    folder = Path(student.model)
    return folder if student.model not in EMBEDDED and is_adapter(folder) else None


def find_adapter(student: Student) -> Path | None:
    """Return the same, but ask the hub and fetch an adapter from it; errors as in `fetch_adapter`."""
    return fetch_adapter(student) if is_on_hub(student) else adapter_of(student)


def fetch_adapter(student: Student) -> Path | None:
    """Return the folder, named by its commit, of an adapter on the hub; None: it is not an adapter, or not there.

    Raises:
        DataError: it is an adapter that cannot be fetched, or whose weights are pickled.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        hf_hub_download(student.model, ADAPTER, revision=student.revision)
    except (OSError, ValueError):
        return None
    try:
        folder = Path(snapshot_download(student.model, revision=student.revision, allow_patterns=list(_FETCHED)))
    except (OSError, ValueError) as error:
        raise DataError(f"student.model: {student.model}: the adapter cannot be fetched: {error}") from None
    _refuse_pickled(folder, student.model)
    return folder


def _refuse_pickled(folder: Path, name: str) -> None:
    if not (folder / WEIGHTS).exists():
        raise DataError(
            f"student.model: {name} has no {WEIGHTS}: srit does not read pickled weights: choose another adapter"
        )


def with_adapter(base: PreTrainedModel, folder: Path, **options: Any) -> PeftModel:
    """Put an adapter over a model.

    Args:
        options: of `PeftModel.from_pretrained`.

    Raises:
        DataError: it was trained on a model of another shape, or its weights are pickled.
    """
    from peft import PeftModel

    _refuse_pickled(folder, str(folder))
    try:
        with peft_may_use_old_names():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error of ours below
            adapted = PeftModel.from_pretrained(base, str(folder), **options)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise DataError(f"{folder}: {_OTHER_BASE} ({str(error).splitlines()[-1].strip()})") from None
    # PEFT 0.21 leaves out, without a word, the weights of layers that the model lacks: only loading them again tells.
    found = adapted.load_adapter(str(folder), "default", **options)
    if amiss := [*found.unexpected_keys, *found.missing_keys]:
        raise DataError(f"{folder}: {_OTHER_BASE}: one of them has no {amiss[0]}")
    return adapted


_OTHER_BASE = "this adapter was trained on a model of another shape than the one it names"


def base_student(student: Student) -> Student:
    """Return the base of a student that is an adapter; any other student is its own base."""
    folder = adapter_of(student)
    if folder is None:
        return student
    base = base_of(folder)
    revision = student.base_revision or base.revision
    return student.model_copy(update={"model": base.model, "revision": revision, "base_revision": None})


def base_of(adapter: Path) -> Student:
    """Return the student that an adapter's configuration names.

    Raises:
        DataError: the configuration is damaged, or names no base.
    """
    path = adapter / ADAPTER
    try:
        stated = json.loads(path.read_bytes())
        base = Student(model=stated["base_model_name_or_path"], revision=stated.get("revision"))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: it does not name the model that it adapts ({error}); restore a copy") from None
    card = adapter / "README.md"
    said = card.read_text("utf-8", errors="replace") if card.exists() else ""
    # An adapter trained on a package's weights names the model that these were made from, which others can find.
    for name, embedded in EMBEDDED.items():
        if embedded.origin == base.model and f"package {embedded.package}" in said.replace("`", ""):
            return Student(model=name)
    return base
