"""The public functions: one runs a recipe, and one runs each stage. The command line makes the same calls."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srit.errors import RecipeError
from srit.finished import load_results
from srit.machine.precision import known_rates
from srit.pipeline.context.reports import Progress
from srit.pipeline.engines import HERE, Machines, working
from srit.pipeline.estimate import Work, total_summary
from srit.pipeline.looking import Looked, look
from srit.pipeline.planning import plan as plan_stages
from srit.pipeline.planning import versions_line
from srit.pipeline.running import open_run, run_stages
from srit.pipeline.variants import begin_variant, shared_by
from srit.recipe import Recipe
from srit.recipe.begun import begun_recipe, run_around
from srit.recipe.evaluation import evaluation_recipe
from srit.recipe.unused import without_effect
from srit.recipe.wording import PLAIN
from srit.records import Completion, Demonstration, Pair
from srit.records.scores import Results
from srit.run_directory import read_records
from srit.run_directory.mirror import mirror_of
from srit.stages import part as part_of
from srit.stages import stages
from srit.students.adapted import is_adapter
from srit.tracking import told
from srit.training.distributed.choice import check_shards, followed, trainers_for
from srit.watching import Line, Watch, in_words

Log = Callable[[str], None]

logger = logging.getLogger("srit")


class PlannedStage(NamedTuple):
    """A stage of a run, and its cost."""

    name: str
    reason: str  # why it would run; "" if it is done
    work: Work  # at most; zeros if the stage is done


class RunPlan(NamedTuple):
    """What a run would do, and its cost."""

    stages: tuple[PlannedStage, ...]  # in order
    warning: str  # library versions that the run would mix; "" if none
    summary: str  # time and cost in one line; "" if nothing would run
    looked: Looked  # what the stages that would run need, and what is missing


def run(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
    mirror: str | None = None,
) -> Path:
    """Run a recipe from start to end, or resume it: only what is missing or out of date is made.

    Args:
        recipe: what to run, from `read_recipe`.
        out: the run directory; None: runs/NAME, where NAME is the recipe's name.
        log: called with each line that reports an event, such as `print`; None: the lines go to the logger "srit".
        progress: called with the name of the work, the number done, and the total; None: progress is not reported.
        machines: where answers and scores are computed and models trained, such as `Machines(workers=4)`: four
            processes. Under torchrun, srun or Ray Train (RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set), each
            process calls this: the first one makes the run, and the others only take part in its trainings.
        mirror: a folder on object storage, such as "s3://bucket/runs/mine", to which the run directory is copied while
            it is made. If it already holds the run, the run resumes from it, on any machine. None: none, or the one
            that the run directory has had so far.

    Returns:
        The run directory. It now holds the models, results.json and report.html.

    Raises:
        SritError: the recipe, the data, the teacher, the machine or the training is at fault (`srit.errors` lists the
            kinds). What was finished is kept, and the same call continues from there.
    """
    return make(recipe, out, None, watch=_watch(log, progress), machines=machines, mirror=mirror)


def demonstrate(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> list[Demonstration]:
    """Ask the teacher for demonstrations of the training problems.

    Arguments and errors are those of `run`. What the demonstrations need is made first.

    Returns:
        Every demonstration in problem order; `kept` says which of them are trained on.
    """
    folder = make(recipe, out, "demonstrations", watch=_watch(log, progress), machines=machines)
    return read_records(folder / "demonstrations.jsonl", Demonstration)


def instruct(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> Path:
    """Train the instructed model on the demonstrations (stage 1 of the method).

    Arguments and errors are those of `run`. What the model needs is made first.

    Returns:
        The folder of the model or adapter; `from_pretrained` loads it.
    """
    return make(recipe, out, "instructed", watch=_watch(log, progress), machines=machines) / "instructed"


def sample(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> list[Completion]:
    """Sample the student's own answers to the training problems.

    Arguments and errors are those of `run`. What the answers need is made first; with several rounds, every earlier
    round.

    Returns:
        The completions of the last round, in problem order.
    """
    folder = make(recipe, out, "completions", watch=_watch(log, progress), machines=machines)
    return read_records(_last_round(folder, recipe) / "completions.jsonl", Completion)


def pair(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> list[Pair]:
    """Make preference pairs from the completions.

    Arguments and errors are those of `run`. What the pairs need is made first; with several rounds, every earlier
    round.

    Returns:
        The pairs of the last round, in problem order.
    """
    folder = make(recipe, out, "pairs", watch=_watch(log, progress), machines=machines)
    return read_records(_last_round(folder, recipe) / "pairs.jsonl", Pair)


def refine(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> Path:
    """Train the refined model on the pairs (stage 2 of the method).

    Arguments and errors are those of `run`. What the model needs is made first; with several rounds, every earlier
    round.

    Returns:
        The folder of the last round's model or adapter; `from_pretrained` loads it.
    """
    return _last_round(make(recipe, out, "refined", watch=_watch(log, progress), machines=machines), recipe) / "refined"


def evaluate(
    recipe: Recipe,
    out: Path | str | None = None,
    *,
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> Results:
    """Evaluate every model of the run on every evaluation task, and write report.html.

    Arguments and errors are those of `run`. What the evaluation needs is made first.

    Returns:
        The results, as `load_results` reads them.
    """
    return load_results(make(recipe, out, "report", watch=_watch(log, progress), machines=machines))


def plan(recipe: Recipe, out: Path | str | None = None) -> RunPlan:
    """Find out what `run` would do with the same arguments, and what it needs. Nothing is made or spent.

    A teacher's server is asked for the list of its models.

    Args:
        recipe: what would be run.
        out: the run directory; None: runs/NAME. It need not exist.

    Returns:
        Every stage with the reason why it would run, the total cost, and what was found: `looked.faults` holds the
        errors that would end the run.

    Raises:
        SritError: the recipe, the student's folder or the content of the run directory is at fault.
    """
    folder = run_folder(recipe, out)
    planned = plan_stages(folder, recipe, stages)
    found = [PlannedStage(str(p.stage.name), p.reason, p.stage.work(recipe) if p.reason else Work()) for p in planned]
    works = [stage.work for stage in found if stage.reason]
    summary = ""
    if works:
        from srit.compute.device import device_for

        summary = total_summary(works, recipe, known_rates(recipe.student), device_for(recipe.student.device))
    looked = look(recipe, folder, [p.stage for p in planned if p.reason])
    return RunPlan(tuple(found), versions_line(folder, planned), summary, looked)


def variant(recipe: Recipe, of: Path | str, mirror: str | None = None) -> Path:
    """Start a variant beside a run; `run` then reuses whatever is equal, and pays for nothing again.

    Args:
        recipe: the variant's recipe; its name becomes the name of the folder.
        of: the directory of the run. Its copy on object storage, if it has one, also keeps the variant's answers.
        mirror: the variant's own, as for `run`.

    Returns:
        The variant's run directory.

    Raises:
        SritError: there is no such run, or another run has that folder.
    """
    folder = Path(of).parent / recipe.name
    begin_variant(folder, Path(of), mirror_of(folder, mirror, _logged))
    return folder


def evaluate_model(
    model: str,
    tasks: Sequence[str],
    out: Path | str | None = None,
    *,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    log: Log | None = None,
    progress: Progress | None = None,
    machines: Machines = HERE,
) -> Path:
    """Evaluate any model on any tasks, and keep its answers.

    Args:
        model: a folder of weights or of an adapter, a hub id, or an embedded student.
        tasks: names of tasks.
        out: the run directory; None: runs/evaluate-MODEL.
        limit: the number of problems of each task; None: all.
        overrides: KEY=VALUE for other fields of the recipe, such as "student.chat_template=chatml".

    Returns:
        The run directory, which `load_results` reads. The other arguments and the errors are those of `run`.
    """
    watch = _watch(log, progress)
    return make_evaluation(model, tasks, out, limit=limit, overrides=overrides, watch=watch, machines=machines)


def make_evaluation(
    model: str,
    tasks: Sequence[str],
    out: Path | str | None,
    *,
    limit: int | None,
    overrides: Sequence[str],
    watch: Watch,
    machines: Machines,
) -> Path:
    """Make what `evaluate_model` describes; `watch` receives every event."""
    student: dict[str, Any] = {"model": model}
    made_by = run_around(Path(model)) if Path(model).is_dir() else None
    begun = None if made_by is None else begun_recipe(made_by)
    if begun is not None and is_adapter(Path(model)):
        student |= begun.student.model_dump(include={"tuning", "dtype", "chat_template"})
    wording = begun.prompt if begun else PLAIN
    recipe = evaluation_recipe(student, tasks, limit=limit, wording=wording, overrides=overrides)
    return make(recipe, out, "results", watch=watch, machines=machines)


def make(
    recipe: Recipe,
    out: Path | str | None,
    part: str | None,
    *,
    watch: Watch,
    machines: Machines = HERE,
    mirror: str | None = None,
) -> Path:
    """Make one part of a run and what it needs.

    Args:
        part: one of `stages.PARTS`; None: everything.
        watch: receives every event. The others are as for `run`.

    Returns:
        The run directory.
    """
    folder = run_folder(recipe, out)
    declare = stages if part is None else part_of(part)
    if machines.shard:
        check_shards(machines.train_workers, recipe.student.tuning)
    if followed():
        return folder
    hear = told(folder, recipe, watch)

    def report(line: str) -> None:
        watch(Line(line))

    if line := without_effect(recipe):
        report(f"WARN {line}")
    with (
        shared_by(folder, stages, report) as shared,
        working(machines, recipe, report) as engine,
        trainers_for(machines.train_workers, report, shards=machines.shard) as trainers,
        open_run(
            folder,
            recipe,
            declare,
            watch=hear,
            shared=shared,
            engine=engine,
            trainers=trainers,
            mirror=mirror_of(folder, mirror, report),
        ) as opened,
    ):
        run_stages(opened)
    return folder


def run_folder(recipe: Recipe, out: Path | str | None) -> Path:
    """Return the run directory: `out`, or runs/NAME.

    Raises:
        RecipeError: it is not a folder on this machine, or its name cannot be written here.
    """
    if out is not None and (found := re.match(r"(s3|gs|az):/+(.*)", str(out))):
        url = f"{found[1]}://{found[2]}"
        raise RecipeError(
            f"--out {url}: a run works in a folder on this machine: give a folder, and copy it there with --mirror "
            f"{url}"
        )
    folder = Path("runs") / recipe.name if out is None else Path(out)
    try:
        str(folder).encode()
        os.fsencode(folder)
    except UnicodeEncodeError:
        raise RecipeError(
            f"--out {folder}: this name is not UTF-8, or this shell's locale has none, so a tokenizer cannot be saved "
            "there: choose another folder, or set LC_ALL=C.UTF-8"
        ) from None
    return folder


def _last_round(folder: Path, recipe: Recipe) -> Path:
    return folder / f"round-{recipe.rounds}"


def _watch(log: Log | None, progress: Progress | None) -> Watch:
    return in_words(log or _logged, progress or _silent)


def _silent(what: str, done: int, total: int) -> None:
    """Ignore progress that nobody asked for."""


def _logged(line: str) -> None:
    """Log a line; warnings reach the user even if logging is not set up."""
    logger.log(logging.WARNING if line.startswith("WARN") else logging.INFO, line.strip())
