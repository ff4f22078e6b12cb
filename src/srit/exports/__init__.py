"""A trained model or its data as files for other software, tested before they are put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError, RecipeError
from srit.exports.adapter import make_adapter
from srit.exports.card import card
from srit.exports.gguf import make_gguf
from srit.exports.lm_eval import make_lm_eval
from srit.exports.merged import make_merged
from srit.exports.ollama import make_ollama
from srit.exports.sources import Source
from srit.exports.trials import UNCHECKED, Trial, trial_of
from srit.exports.trl import make_datasets
from srit.records import Check
from srit.run_directory import building, write_bytes

QUESTIONS = 20  # that an export is tested with


class Wanted(NamedTuple):
    """An export to be made."""

    source: Source
    folder: Path
    trial: Trial
    converter: Path | None  # llama.cpp's


KINDS: Mapping[str, Callable[[Wanted], list[Check]]] = {
    "merged": lambda wanted: make_merged(wanted.source, wanted.folder, wanted.trial),
    "adapter": lambda wanted: make_adapter(wanted.source, wanted.folder, wanted.trial),
    "gguf": lambda wanted: make_gguf(wanted.source, wanted.folder, wanted.trial, wanted.converter),
    "ollama": lambda wanted: make_ollama(wanted.source, wanted.folder, wanted.trial, wanted.converter),
    "datasets": lambda wanted: make_datasets(wanted.source, wanted.folder, wanted.trial),
    "lm-eval": lambda wanted: make_lm_eval(wanted.source, wanted.folder, wanted.trial),
}
DATA = ("datasets", "lm-eval")  # which hold no model, and so have no model card


def export(
    source: Source,
    kind: str,
    out: Path,
    *,
    report: Callable[[str], None],
    questions: int = QUESTIONS,
    converter: Path | None = None,
) -> Path:
    """Write a folder for other software, with a model card, once it has passed its test.

    Args:
        kind: one of `KINDS`.
        out: the folder, which must not exist or be empty.
        report: called with a line about each check.
        questions: how many the checks ask.
        converter: llama.cpp's convert_hf_to_gguf.py, for GGUF.

    Returns:
        The folder.

    Raises:
        RecipeError: the kind does not exist, or the folder is not empty.
        DataError: a check failed; nothing was left in the folder.
        MachineError: software is missing, or there is no disk space.
    """
    if kind not in KINDS:
        raise RecipeError(f"--to: there is no export {kind!r}: choose one of {', '.join(KINDS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecipeError(f"--out: {out} already exists: choose a new folder")
    with building(out) as folder:
        checks = KINDS[kind](Wanted(source, folder, trial_of(source, questions), converter))
        for check in checks:
            report(f"{'ok  ' if check.ok else 'WARN'} {check.line}")
        if failed := [check for check in checks if not check.ok and check.name != UNCHECKED]:
            raise DataError(
                f"{out}: not written, because the export does not match the trained model: {failed[0].line}"
            )
        if kind not in DATA:
            write_bytes(folder / "README.md", card(source, kind, out.name, checks).encode())
    return out
