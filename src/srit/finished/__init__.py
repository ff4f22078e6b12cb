"""Reads what a run made: its page, its figures, its results, and two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srit.finished.differences import SideBySide, compare_runs, side_of
from srit.pipeline.stage import part_of
from srit.recipe.begun import begun_recipe
from srit.records import Model
from srit.records.scores import Results
from srit.run_directory import read_manifest
from srit.stages import stages
from srit.stages.anatomy.verdict import Verdict, verdict_of
from srit.stages.report import News, report_so_far, write_report
from srit.stages.report.anatomy import of_first_round
from srit.stages.report.curves import curves
from srit.stages.report.logs import read_logs
from srit.stages.results import read_results


def report(folder: Path | str) -> Path:
    """Write report.html from what a run has made so far.

    Args:
        folder: a run directory.

    Returns:
        The path of the page.

    Raises:
        RecipeError: no run was started in the folder.
        DataError: a file of the run is damaged.
    """
    folder = Path(folder)
    recipe = begun_recipe(folder)
    return write_report(folder, stages(recipe)[-1], recipe)


def page(folder: Path, live: News) -> str:
    """Return the page of a run in progress; errors as in `report`."""
    recipe = begun_recipe(folder)
    return report_so_far(folder, stages(recipe)[-1], recipe, live=live)


def figures(folder: Path | str, out: Path | str) -> list[Path]:
    """Write the figures of a run's page as SVG and PDF, for a paper.

    Args:
        folder: a run directory.
        out: the folder for the figures.

    Returns:
        Their paths.

    Raises:
        RecipeError: no run was started in the folder, or matplotlib is not installed.
        DataError: a file of the run is damaged, or there are no results yet.
    """
    from srit.stages.report.figures import write_figures

    folder = Path(folder)
    begun_recipe(folder)
    whole = (name for name in read_manifest(folder).stages if not part_of(name))  # a round has its parts' steps
    logs = read_logs(folder, whole)
    return write_figures(load_results(folder), curves(logs), Path(out))


def load_results(folder: Path | str) -> Results:
    """Read the results of a run.

    Args:
        folder: a run directory.

    Returns:
        The records of its results.json: each model's accuracy on each task (`rows`) and on all tasks of a domain
        (`pooled`), models compared on the same problems (`comparisons`), and what else the recipe asked for.

    Raises:
        DataError: there are no results yet, or the file is damaged.
    """
    return read_results(Path(folder) / "results.json")


def load_verdict(folder: Path | str) -> Verdict | None:
    """Say whether a run's pairs mattered, by a rule from its figures.

    Args:
        folder: a run directory.

    Returns:
        The outcome and a sentence with the figures; None if the run has no refined model.

    Raises:
        DataError: there are no results yet, or a file is damaged.
    """
    return verdict_of(load_results(folder), of_first_round(Path(folder)))


def side_by_side(a: Path | str, b: Path | str, models: Sequence[tuple[Model, Model]] = ()) -> SideBySide:
    """Compare the models of two runs on the problems that both were asked.

    Args:
        models: pairs of a model of the first run and one of the second; (): each with its namesake.

    Returns:
        What differs in their recipes, and each difference with its interval and the problems that changed.

    Raises:
        SritError: one is not a run, they have nothing in common, or a file is damaged.
    """
    return compare_runs(side_of(Path(a)), side_of(Path(b)), models)
