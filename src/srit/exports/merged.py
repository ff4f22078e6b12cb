"""A self-contained folder of weights: adapters are merged in, and the result is rounded to their precision once."""

from __future__ import annotations

from pathlib import Path

from srit.exports.sources import Source
from srit.exports.trials import Trial, furthest, greedy, same
from srit.recipe import Student
from srit.records import Check
from srit.students.loading import load_model, trainable
from srit.students.saved import save_loadable

# Of the probability of any next token. In float32, merging an adapter changes the order of sums; in bfloat16 it also
# rounds each weight to 8 significant bits.
BOUNDS = {"float32": 1e-3, "bfloat16": 0.2}


def make_merged(source: Source, folder: Path, trial: Trial) -> list[Check]:
    """Write the folder, load it as a user would, and compare it with the adapter over its base.

    Raises:
        DataError: the model cannot be loaded.
    """
    save_loadable(folder, load_model(source.student, source.trained), trial.prompts)
    written = load_model(Student(model=str(folder), dtype="float32"))
    exact = source.student.model_copy(update={"dtype": "float32"})
    answers = greedy(load_model(exact, source.trained), trial)
    alike, line = same(answers, greedy(written, trial))
    beside = trainable(exact, source.trained) if source.is_adapter else load_model(exact, source.trained)
    gap, bound = furthest(beside, written, trial, answers), BOUNDS[source.student.dtype]
    what = "adapter and base" if source.is_adapter else "the trained weights"
    summary = f"no next token is more or less probable than by {what} by over {gap:.1g} ({bound:g} allowed)"
    return [
        Check("probabilities by the merged weights", gap <= bound, f"{summary}, in {source.student.dtype}"),
        Check("greedy answers of the merged weights", alike, f"{line}, by {what} and by the folder"),
    ]
