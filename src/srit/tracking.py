"""Tells trackers what happens to a run: the settings, each training's steps, and the results.

A tracker's run lasts as long as ours keeps the same recipe, and nothing that the tracker received has changed. Messages
are made from what the run keeps, so a tracker that is added late, or was unreachable for a while, has everything in the
end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from srit.errors import MachineError, SritError
from srit.recipe import Recipe
from srit.recipe.begun import begun_recipe
from srit.recipe.compared import slug
from srit.recipe.rounds import RoundPart
from srit.records.scores import Results
from srit.run_directory import canonical_sum, read_manifest
from srit.stages.report.logs import read_log
from srit.stages.report.provenance import leaves, written
from srit.stages.results import over_domain, read_results
from srit.trackers import Point, Setting, TrackedRun, TrackerKind, installed
from srit.trackers.sending import Count, Sending, Sent, read_sent, said
from srit.watching import Begun, Closing, Event, Kept, Line, Made, Opened, Progressed, Taken, Watch

KEPT = ".trackers"  # the folder in a run directory with a file for each tracker


def told(folder: Path, recipe: Recipe, watch: Watch) -> Watch:
    """Return a function that passes events on and also sends them to a run's trackers.

    Raises:
        MachineError: a tracker that the recipe names is not installed. Events raise it if a tracker cannot be used when
            it first receives the run.
    """
    installed(recipe.report_to or ())
    return Telling(folder, recipe.report_to, watch).hear


class Telling:
    """The trackers of an open run."""

    def __init__(self, folder: Path, names: Sequence[str] | None, watch: Watch) -> None:
        """
        Args:
            names: of the trackers; None: those that the run has had so far.
        """
        self._folder, self._names, self._watch = folder, names, watch
        self._kinds: dict[str, TrackerKind] = {}
        self._sendings: list[Sending] = []
        self._begun = Begun("")
        self._complete: list[str] = []  # the finished trainings, and the results

    def hear(self, event: Event) -> None:
        """Pass on an event, and tell the trackers about it."""
        self._watch(event)
        if isinstance(event, Opened):
            self._open()
        elif self._sendings:
            self._tell_all(event)

    def _tell_all(self, event: Event) -> None:
        match event:
            case Closing(finished):
                self._end(finished=finished)
            case Begun(stage, fingerprint):
                self._begun = event
                self._begin_anew(stage, fingerprint)
            case Progressed(what, done, metrics=metrics) if metrics and what == self._begun.stage:
                self._step(done, metrics)
            case Made(stage) | Taken(stage) | Kept(stage):
                self._add(stage)

    def _open(self) -> None:
        kept = sorted(path.stem for path in (self._folder / KEPT).glob("*.json"))
        self._kinds = installed(kept if self._names is None else self._names)
        if not self._kinds:
            return
        self._recipe = begun_recipe(self._folder)
        self._settings = settings_of(self._recipe)
        try:
            self._sendings += filter(None, map(self._begin, self._kinds))
        except MachineError:
            self._end(finished=False)
            raise

    def _end(self, *, finished: bool) -> None:
        for sending in self._sendings:
            sending.end(finished=finished)

    def _begin(self, name: str, *, anew: bool = False) -> Sending | None:
        """Continue a tracker's run, or start one; None: it cannot be reached now, but could be before."""
        place = self._folder / KEPT / f"{name}.json"
        before, sum_ = read_sent(place), canonical_sum(self._settings)
        going_on = before if before and before.settings == sum_ and not anew else None
        run = TrackedRun(self._folder, self._recipe.name, self._settings)
        try:
            tracker = self._kinds[name].begin(run, going_on and going_on.id)
        except Exception as error:  # the tracker's own code
            reason = str(error) if isinstance(error, SritError) else said(error)
            if before is None:
                raise MachineError(f"report_to: {name}: {reason}; or set report_to=none") from None
            self._report(
                f"WARN report_to: {name}: {reason}: the run continues without it, and the next one sends everything"
            )
            return None
        self._report(f"     report_to: {name}: {tracker.where}")
        is_there = going_on is not None and tracker.id == going_on.id
        sent = going_on if going_on and is_there else Sent(tracker.id, sum_, {})
        return Sending(name, tracker, sent, place, self._report)

    def _begin_anew(self, stage: str, fingerprint: str) -> None:
        """Start a new run if the tracker has another training of that name, such as one on earlier data."""
        for sending in [one for one in self._sendings if one.contradicts(stage, fingerprint)]:
            sending.end(finished=False)
            self._sendings.remove(sending)
            if (new := self._begin(sending.name, anew=True)) is not None:
                self._sendings.append(new)
                for done in self._complete:
                    self._tell(new, done)

    def _step(self, done: int, metrics: Mapping[str, float]) -> None:
        stage, fingerprint = self._begun.stage, self._begun.fingerprint
        curve, before = self._curve(stage)
        point = Point(curve, before + done - 1, _figures(metrics))
        for sending in self._sendings:
            sending.tell(stage, Count(fingerprint, done), point)

    def _add(self, stage: str) -> None:
        path = self._folder / f"{stage}.json"
        if stage != "results" and not (path.exists() and read_log(path).history):
            return
        self._begin_anew(stage, self._fingerprint(stage))
        self._complete.append(stage)
        for sending in self._sendings:
            self._tell(sending, stage)

    def _tell(self, sending: Sending, stage: str) -> None:
        """Tell a tracker what it lacks of a finished stage."""
        path, fingerprint = self._folder / f"{stage}.json", self._fingerprint(stage)
        if stage == "results":
            sending.tell(stage, Count(fingerprint, 1), results_of(read_results(path)))
            return
        curve, before = self._curve(stage)
        history = read_log(path).history  # a round's curve has the steps of its parts too
        for number, metrics in enumerate(history[before if stage == curve else 0 :]):
            sending.tell(stage, Count(fingerprint, number + 1), Point(curve, before + number, _figures(metrics)))

    def _fingerprint(self, stage: str) -> str:
        return read_manifest(self._folder).stages[stage].fingerprint

    def _curve(self, stage: str) -> tuple[str, int]:
        """Return the training that a stage belongs to, and how many of its steps belong to earlier parts."""
        found = re.fullmatch(r"round-(\d+)/(?:part-(\d+)/)?refined", stage)
        if found is None:
            return stage, 0
        refine = self._recipe.refine
        part = RoundPart(int(found[1]), int(found[2] or refine.parts * refine.passes), refine.parts, refine.passes)
        logs = [read_log(self._folder / f"{one.folder}/refined.json") for one in part.earlier]
        return f"round-{part.round}/refined", sum(len(log.history) for log in logs)

    def _report(self, line: str) -> None:
        self._watch(Line(line))


def settings_of(recipe: Recipe) -> dict[str, Setting]:
    """Return a recipe's fields by dotted names: numbers, strings and booleans unchanged, all else as text."""
    fields = leaves(recipe.model_dump(mode="json"))
    return {name: value if isinstance(value, (str, int, float)) else written(value) for name, value in fields}


def results_of(results: Results) -> dict[str, float]:
    """Return the accuracies of results, 0 to 1, and the differences of models, by names that any tracker accepts."""
    scores = [(score, score.task or over_domain(score.domain)) for score in (*results.rows, *results.pooled)]
    place = _places([*(task for _, task in scores), *(one.task for one in results.comparisons)])
    return {
        **{f"accuracy/{score.model}/{place[task]}/{score.prompt}": score.accuracy for score, task in scores},
        **{f"difference/{one.a}-{one.b}/{place[one.task]}/{one.prompt}": one.delta for one in results.comparisons},
    }


def _places(tasks: Iterable[str]) -> dict[str, str]:
    """Return a unique name for each task, in characters that any tracker accepts."""
    found: dict[str, str] = {}
    for task in dict.fromkeys(tasks):
        name = slug(task)
        found[task] = name if name not in found.values() else f"{name}-{len(found)}"
    return found


def _figures(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "step"}
