"""A plan and a run's results as tables on screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from srit.intervals import p_value
from srit.pipeline.estimate import Work
from srit.pipeline.stage import PART, part_of
from srit.records import Model

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from srit.api import PlannedStage
    from srit.records.scores import Comparison, Results, Score

CHANGE = (Model("refined"), Model("instructed"))
UNLIMITED = 10_000  # columns: more than any table has


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines whose columns are as wide as their widest cell."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def plan_rows(stages: Iterable[PlannedStage]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each stage of a plan; successive parts of a round share one where the same is to be done."""
    groups: list[list[PlannedStage]] = []
    latest: dict[tuple[str, str], list[PlannedStage]] = {}
    for stage in stages:
        part = part_of(stage.name)
        kind = PART.sub("", stage.name) if part else stage.name, stage.reason
        group = latest.get(kind)
        if group is not None and 0 < part == part_of(group[-1].name) + 1:
            group.append(stage)
        else:
            latest[kind] = [stage]
            groups.append(latest[kind])
    for group in groups:
        name = group[0].name
        if len(group) > 1:
            name = PART.sub(rf"\g<0>…{part_of(group[-1].name)}", name)
        work = Work(*map(sum, zip(*(stage.work for stage in group), strict=True)))
        reason = group[0].reason
        yield "run " if reason else "done", name, work.summary(), reason


def print_results(results: Results) -> None:
    """Print the accuracies of a run, and the likelihoods of options if it has them.

    A terminal gets the fullest form that fits its width: the whole table, one without the models' intervals, or a list;
    nothing is wrapped. Without a terminal, nothing is left out.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    tables, plain = _forms(results)
    fitting = next((table for table in tables if _fits(table, console)), None)
    if fitting is None:
        console.print(plain, soft_wrap=True, highlight=False, markup=False)
    else:
        console.print(fitting)
    if results.options:
        options = options_table(results)
        console.print(options if _fits(options, console) else _as_list(options), soft_wrap=True)


def _forms(results: Results) -> tuple[list[Table], str]:
    """Return the tables of a run, the fullest first, and the list that can replace them."""
    if any((c.a, c.b) == CHANGE for c in results.comparisons):
        return [accuracy_table(results, wide=wide) for wide in (True, False)], accuracy_list(results)
    table = scores_table(results)
    return [table], _as_list(table)


def _fits(table: Table, console: Console) -> bool:
    return console.measure(table, options=console.options.update(width=UNLIMITED)).maximum <= console.width


def accuracy_table(results: Results, *, wide: bool) -> Table:
    """Return a line for each task and prompt, then one for all tasks of a domain, with a column for each model.

    Args:
        wide: with the models' intervals and the p-value of the difference.
    """
    from rich.box import HEAVY_HEAD
    from rich.table import Table

    models = _models(results)
    if wide:
        table = Table(title="accuracy, % (95 % interval)", box=HEAVY_HEAD)
    else:
        title = "accuracy, %; change: refined - instructed (95 % interval)"
        table = Table(title=title, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("", "task", "prompt", "n", *map(str, models), "refined - instructed" if wide else "change"):
        table.add_column(column, no_wrap=True)
    for change in _changes(results):
        scores = _scores(results, change)
        n = scores[Model("instructed")].n
        cells = [_accuracy(scores[model], n, wide) if model in scores else "" for model in models]
        task = change.task if wide else _short(change)
        table.add_row(change.domain, task, change.prompt, str(n), *cells, _difference(change, wide))
    return table


def _short(change: Comparison) -> str:
    from srit.stages.results import DOMAINS

    return "all tasks" if change.task == f"all {DOMAINS[change.domain]}" else change.task


def accuracy_list(results: Results) -> str:
    """Return the same with a line for each figure, for terminals narrower than any table."""
    blocks = ["accuracy, % (95 % interval)"]
    for change in _changes(results):
        scores = _scores(results, change)
        n = scores[Model("instructed")].n
        figures = [(str(model), _accuracy(scores[model], n, True)) for model in _models(results) if model in scores]
        figures.append(("refined - instructed", _difference(change, True)))
        blocks.append(f"\n{change.task} ({change.domain}), {change.prompt}, n {n}")
        blocks += [f"  {name:21}{figure}" for name, figure in figures]
    return "\n".join(blocks)


def _changes(results: Results) -> list[Comparison]:
    changes = [c for c in results.comparisons if (c.a, c.b) == CHANGE]
    return sorted(changes, key=lambda c: (c.domain, c.task.startswith("all "), c.task, c.prompt))


def scores_table(results: Results) -> Table:
    """Return a line for each model, task and prompt, of runs that refine nothing."""
    from rich.table import Table

    table = Table(title="accuracy, % (95 % interval)")
    for column in ("model", "task", "prompt", "n", "right", "not read", "cut"):
        table.add_column(column, no_wrap=True)
    for row in results.rows:
        counts = (row.n, _accuracy(row, row.n, wide=True), row.unread + row.errors, row.truncated)
        table.add_row(str(row.model), row.task, row.prompt, *map(str, counts))
    return table


def options_table(results: Results) -> Table:
    """Return how often the likeliest option of multiple-choice problems is right, and the likeliest per character."""
    from rich.table import Table

    options = results.options or ()
    scored = [model for model in _models(results) if any(row.model == model for row in options)]
    table = Table(title="right by likelihood of the options, % (per character)")
    for column in ("task", "prompt", "scored", "n", *map(str, scored)):
        table.add_column(column, no_wrap=True)
    for place in dict.fromkeys((row.task, row.prompt, row.scored, row.n) for row in options):
        found = {row.model: row for row in options if (row.task, row.prompt, row.scored) == place[:3]}
        shares = [f"{100 * found[m].accuracy:.1f} ({100 * found[m].accuracy_norm:.1f})" for m in scored]
        table.add_row(*map(str, place), *shares)
    return table


def _as_list(table: Table) -> str:
    """Return a table's rows with a line for each cell."""
    names = [str(column.header) for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    blocks = ["\n".join(f"  {name:21}{cell}" for name, cell in zip(names, row, strict=True)) for row in rows]
    return "\n\n".join([str(table.title), *blocks])


def _models(results: Results) -> list[Model]:
    return list(dict.fromkeys(row.model for row in results.rows))


def _scores(results: Results, change: Comparison) -> dict[Model, Score]:
    """Return the scores of one line of the table, by model."""
    if change.task.startswith("all "):
        rows = [row for row in results.pooled if (row.domain, row.prompt) == (change.domain, change.prompt)]
    else:
        rows = [row for row in results.rows if (row.task, row.prompt) == (change.task, change.prompt)]
    return {row.model: row for row in rows}


def _accuracy(score: Score, n: int, wide: bool) -> str:
    low, high = (100 * end for end in score.ci95)
    of = "" if score.n == n else f" of {score.n}"
    return f"{100 * score.accuracy:.1f}{of}" + (f" ({low:.0f}-{high:.0f})" if wide else "")


def _difference(change: Comparison, wide: bool) -> str:
    low, high = (100 * end for end in change.ci95)
    points = f"{100 * change.delta:+z.1f} ({low:+z.1f} to {high:+z.1f})"
    if not wide:
        return points
    return f"{points}, p {p_value(change.p)}" if change.changed else f"{points}, no problem changed"
