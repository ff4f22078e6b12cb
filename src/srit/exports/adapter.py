"""Only the adapter, as PEFT loads it onto its base."""

from __future__ import annotations

import shutil
from pathlib import Path

from srit.errors import RecipeError
from srit.exports.sources import Source
from srit.exports.trials import Trial, greedy, same
from srit.records import Check
from srit.students.loading import load_model


def make_adapter(source: Source, folder: Path, trial: Trial) -> list[Check]:
    """Copy the adapter with its tokenizer, and ask it the same questions as the original.

    Raises:
        RecipeError: the model is not an adapter.
    """
    if source.trained is None or not source.is_adapter:
        raise RecipeError(f"--to adapter: {source.name} has no adapter, only weights: use --to merged")
    shutil.copytree(source.trained, folder, dirs_exist_ok=True)
    exact = source.student.model_copy(update={"dtype": "float32"})
    original, copied = (greedy(load_model(exact, place), trial) for place in (source.trained, folder))
    alike, line = same(original, copied)
    return [Check("greedy answers of the adapter", alike, f"{line}, before and after")]
