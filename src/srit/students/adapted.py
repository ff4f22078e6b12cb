"""Students that are adapters: what they adapt, so that training goes on with the adapter itself."""

from __future__ import annotations

import json
from pathlib import Path

from srit.errors import DataError
from srit.recipe import Student
from srit.students.embedded import EMBEDDED

ADAPTER = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter."""
    return (folder / ADAPTER).is_file()


def adapter_of(student: Student) -> Path | None:
    """Return the folder of a student that is an adapter; None: it has weights of its own."""
    folder = Path(student.model)
    return folder if student.model not in EMBEDDED and is_adapter(folder) else None


def base_student(student: Student) -> Student:
    """Return the student whose weights a student that is an adapter adapts; any other student is its own."""
    folder = adapter_of(student)
    if folder is None:
        return student
    base = base_of(folder)
    return student.model_copy(update={"model": base.model, "revision": base.revision})


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
        raise DataError(f"{path}: does not name the model that it adapts ({error}); restore a copy") from None
    card = adapter / "README.md"
    said = card.read_text("utf-8", errors="replace") if card.exists() else ""
    # Trained on the weights of a package, an adapter names the model that these were made from, which others find.
    for name, embedded in EMBEDDED.items():
        if embedded.origin == base.model and f"package {embedded.package}" in said.replace("`", ""):
            return Student(model=name)
    return base
