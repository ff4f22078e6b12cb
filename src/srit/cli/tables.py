"""A run's results as tables on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srit.records import Model

if TYPE_CHECKING:
    from rich.table import Table

    from srit.records.scores import Comparison, Results, Score

CHANGE = (Model("refined"), Model("instructed"))
UNLIMITED = 10_000  # columns: more than any table has


def print_results(results: Results) -> None:
    """Print the accuracies of a run, and the likelihoods of options if it has them.

    A terminal that is too narrow for the intervals and p-values gets the table without them; where there is no
    terminal, nothing is left out or wrapped.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    if not any((c.a, c.b) == CHANGE for c in results.comparisons):
        console.print(scores_table(results))
        return
    table = accuracy_table(results, wide=True)
    if console.measure(table, options=console.options.update(width=UNLIMITED)).maximum > console.width:
        table = accuracy_table(results, wide=False)
    console.print(table)
    if results.options:
        console.print(options_table(results))


def accuracy_table(results: Results, *, wide: bool) -> Table:
    """Return a line for each task and prompt, then one for all tasks of a domain, with a column for each model.

    Args:
        wide: with the models' intervals and the p-value of the difference.
    """
    from rich.table import Table

    models = _models(results)
    table = Table(title="accuracy, % (95 % interval)" if wide else "accuracy, %")
    for column in ("", "task", "prompt", "n", *map(str, models), "refined - instructed"):
        table.add_column(column)
    changes = [c for c in results.comparisons if (c.a, c.b) == CHANGE]
    for change in sorted(changes, key=lambda c: (c.domain, c.task.startswith("all "), c.task, c.prompt)):
        scores = _scores(results, change)
        n = scores[Model("instructed")].n
        cells = [_accuracy(scores[model], n, wide) if model in scores else "" for model in models]
        table.add_row(change.domain, change.task, change.prompt, str(n), *cells, _difference(change, wide))
    return table


def scores_table(results: Results) -> Table:
    """Return a line for each model, task and prompt, of runs that refine nothing."""
    from rich.table import Table

    table = Table(title="accuracy, % (95 % interval)")
    for column in ("model", "task", "prompt", "n", "right", "not read", "cut"):
        table.add_column(column)
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
        table.add_column(column)
    for place in dict.fromkeys((row.task, row.prompt, row.scored, row.n) for row in options):
        found = {row.model: row for row in options if (row.task, row.prompt, row.scored) == place[:3]}
        shares = [f"{100 * found[m].accuracy:.1f} ({100 * found[m].accuracy_norm:.1f})" for m in scored]
        table.add_row(*map(str, place), *shares)
    return table


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
    return f"{points}, p {change.p:.3f}" if wide else points
