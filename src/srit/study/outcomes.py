"""A finished run directory → its part of study.json, from which every table is made.

It is the same on any machine that computes the same numbers: it has no dates, durations or folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from srit.recipe import Recipe
from srit.recipe.compared import answered, options_file, predictions_file, scored, slug
from srit.recipe.rounds import rounds_of
from srit.records import Model, OptionScores, Prediction
from srit.records.anatomy import Anatomy, Effects
from srit.run_directory import Json, read_manifest, read_records
from srit.stages import measured
from srit.stages.anatomy.effect import read_effects
from srit.stages.anatomy.stage import read_anatomy
from srit.stages.report.logs import read_log
from srit.study.records import AnswerRow, Count, DoneRun, OptionRow, TrainingRow

ENDS = 10  # the first and the last tenth of a training's steps stand for its ends
OF_PAIRS = {"preference_loss", "chosen_logps", "rejected_logps", "margins", "accuracies"}  # 0 in a step without any
_Record = TypeVar("_Record", Anatomy, Effects)

DIGITS = 6  # of a float; the seventh differs between processors


def outcome(folder: Path, recipe: Recipe) -> DoneRun:
    """Collect the answers, trainings and counts of a finished run."""
    done, wanted = read_manifest(folder).stages, {str(stage.name): stage.name for stage in measured(recipe)}
    # A folder also keeps what an earlier form of its recipe made.
    counts = {name: entry.counts for name, entry in done.items() if name in wanted and not wanted[name].part}
    trainings = [name for name in counts if (folder / f"{name}.json").exists() and "steps" in counts[name]]
    return DoneRun(
        seed=recipe.seed,
        answers=tuple(_answers(folder, recipe)),
        options=tuple(_options(folder, recipe)) if recipe.evaluate.options else None,
        trainings=tuple(_training(name, counts[name], folder) for name in trainings),
        counts={
            name: _numbers(counts[name])
            for name in counts
            if wanted[name].product in ("demonstrations", "completions", "pairs", "accepted")
            or wanted[name].model == Model("teacher")
        },
        anatomies=_of_rounds(folder, recipe, "anatomy", read_anatomy),
        effects=_of_rounds(folder, recipe, "effect", read_effects) if recipe.evaluate.pairs else None,
    )


def _of_rounds(
    folder: Path, recipe: Recipe, product: str, read: Callable[[Path], _Record]
) -> tuple[_Record, ...] | None:
    """Read a product of each round; None if one is missing, as in runs of an older srit."""
    paths = [folder / f"round-{number}/{product}.json" for number in rounds_of(recipe)]
    return tuple(map(read, paths)) if all(path.exists() for path in paths) else None


def _answers(folder: Path, recipe: Recipe) -> Iterator[AnswerRow]:
    """Yield a row for each model, task and prompt."""
    for model, task in answered(recipe):
        found = read_records(folder / predictions_file(model, task), Prediction)
        for prompt in dict.fromkeys(p.prompt for p in found):
            of_prompt = [p for p in found if p.prompt == prompt]
            place = None if task.place == slug(task.label) else task.place
            yield answers_row(model, task.label, of_prompt, recipe.evaluate.pass_at, place=place)


def _options(folder: Path, recipe: Recipe) -> Iterator[OptionRow]:
    """Yield a row for each model, task, prompt and kind of scoring."""
    for model, task in scored(recipe):
        found = read_records(folder / options_file(model, task), OptionScores)
        for prompt, what in dict.fromkeys((s.prompt, s.scored) for s in found):
            alike = [s for s in found if (s.prompt, s.scored) == (prompt, what)]
            yield OptionRow(
                model=model,
                task=task.label,
                prompt=prompt,
                scored=what,
                problems=_hash(s.problem_id for s in alike),
                right=_digits(s.right for s in alike),
                right_norm=_digits(s.right_norm for s in alike),
                probability=_mean([s.probability for s in alike]),
                confidence=_mean([s.confidence for s in alike]),
                margin=_mean([s.margin for s in alike]),
            )


def _hash(problem_ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(problem_ids).encode()).hexdigest()[:16]


def answers_row(
    model: Model, task: str, predictions: Sequence[Prediction], pass_at: Sequence[int] = (), *, place: str | None = None
) -> AnswerRow:
    """Summarize one model's answers to one task under one prompt."""
    greedy = [p for p in predictions if p.index == 0]
    drawn: dict[str, list[bool]] = {p.problem_id: [] for p in greedy}
    for p in predictions:
        if p.index > 0:
            drawn[p.problem_id].append(p.verdict == "right")
    sampled = bool(pass_at) and any(drawn.values())
    return AnswerRow(
        model=model,
        task=task,
        prompt=greedy[0].prompt,
        place=place,
        problems=_hash(p.problem_id for p in greedy),
        right=_digits(p.verdict == "right" for p in greedy),
        tokens=_mean([p.n_tokens for p in greedy]),
        truncated=sum(p.truncated for p in greedy),
        unread=sum(p.verdict == "unread" for p in greedy),
        errors=sum(p.verdict == "error" for p in greedy),
        pass_at=tuple(pass_at) if sampled else None,
        samples=max(map(len, drawn.values())) if sampled else None,
        drawn_right=tuple(map(sum, drawn.values())) if sampled else None,
    )


def _digits(right: Iterable[bool]) -> str:
    return "".join("1" if one else "0" for one in right)


def _training(name: str, counts: Mapping[str, Json], folder: Path) -> TrainingRow:
    history = read_log(folder / f"{name}.json").history
    tenth = max(1, len(history) // ENDS)
    return TrainingRow(
        stage=name,
        examples=counts.get("examples"),
        groups=counts.get("groups"),
        steps=counts["steps"],
        tokens=_short(counts["tokens"]),
        first=step_means(history[:tenth]) if history else None,
        last=step_means(history[-tenth:]) if history else None,
    )


def step_means(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average steps, each counting equally; figures about pairs only over steps that have pairs."""
    means = {}
    for field in steps[0]:
        there = [step[field] for step in steps if field not in OF_PAIRS or step["chosen_logps"]]
        if there and field != "tokens":
            means[field] = _mean(there)
    return means


def _numbers(counts: Mapping[str, Json]) -> dict[str, Count]:
    """Return the counts without those of calls, which a retry or another run's journal changes."""
    kept = {name: n for name, n in counts.items() if isinstance(n, (int, float)) and not name.startswith("n_")}
    return {name: _short(n) if isinstance(n, float) else n for name, n in kept.items()}


def _mean(values: Sequence[float]) -> float:
    return _short(sum(values) / len(values))


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
