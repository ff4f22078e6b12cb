"""The page's figures for a paper: SVG and PDF, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from srit.errors import RecipeError
from srit.installing import extra_install
from srit.records import Model
from srit.records.scores import Comparison, Results
from srit.run_directory import write_bytes
from srit.stages.report.accuracy import Group, groups, models_of, style_of
from srit.stages.report.curves import Curve
from srit.stages.report.headline import refinements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.75  # inches: both columns of a usual page
# As in the page's style.
_COLORS = {"base": "#8a949d", "instructed": "#3d7ab5", "refined": "#cb5a1e", "control": "#7c6bb8", "teacher": "#41845a"}
_COLORS |= {"one": "#3d7ab5", "two": "#cb5a1e"}
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: publishers refuse matplotlib's default
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "srit",  # the same figure is the same bytes
}


class _Drawn(NamedTuple):
    name: str
    draw: Callable[[], Figure]


def write_figures(results: Results, curves: Sequence[Curve], out: Path) -> list[Path]:
    """Write every figure as NAME.svg and NAME.pdf, and return their paths.

    Raises:
        RecipeError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError:
        raise RecipeError(f"figures need matplotlib: {extra_install('figures')}") from None
    paths = []
    with rc_context(_STYLE):
        for name, draw in _figures(results, curves):
            figure = draw()
            for end, date in (("svg", "Date"), ("pdf", "CreationDate")):
                write_bytes(path := out / f"{name}.{end}", _saved(figure, end, date))
                paths.append(path)
    return paths


def _saved(figure: Figure, end: str, date: str) -> bytes:
    from io import BytesIO

    data = BytesIO()
    figure.savefig(data, format=end, metadata={date: None})
    return data.getvalue()


def _figures(results: Results, curves: Sequence[Curve]) -> Iterator[_Drawn]:
    for group in groups(results):
        name = f"accuracy-{group.panels[0].scores[0].domain}-{group.panels[0].scores[0].prompt}"
        yield _Drawn(name, lambda group=group: _accuracy(group))  # type: ignore[misc]
    if changes := refinements(results):
        yield _Drawn("changes", lambda: _changes(changes))
    for stage in dict.fromkeys(curve.stage for curve in curves):
        of_stage = [curve for curve in curves if curve.stage == stage]
        yield _Drawn(f"training-{stage.replace('/', '-')}", lambda of_stage=of_stage: _training(of_stage))  # type: ignore[misc]


def _grid(n: int, height: float, most: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with a place for each of n drawings, in rows of `most`."""
    from matplotlib.figure import Figure

    columns = min(n, most)
    rows = math.ceil(n / columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(n)]


def _accuracy(group: Group) -> Figure:
    n_models = max(len(panel.scores) for panel in group.panels)
    figure, axes = _grid(len(group.panels), 0.62 + 0.17 * n_models, 4)
    for panel, axis in zip(group.panels, axes, strict=True):
        for place, score in enumerate(panel.scores):
            color = _COLORS[style_of(score.model)]
            axis.plot([100 * end for end in score.ci95], [place, place], color=color, linewidth=1.2, alpha=0.6)
            axis.plot([100 * score.accuracy], [place], "o", color=color, markersize=4)
        _name(axis, models_of(panel.scores))
        axis.set(title=panel.title, xlim=(0, 100), xticks=(0, 50, 100))
        axis.grid(axis="x", linewidth=0.4, alpha=0.4)
    figure.supxlabel("percent correct, 95 % interval", fontsize=8)
    return figure


def _name(axis: Axes, names: Sequence[Model | str]) -> None:
    """Write what each row is, the first on top."""
    axis.set_yticks(range(len(names)), [str(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)


def _changes(changes: Sequence[Comparison]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 2, 0.6 + 0.2 * len(changes)), layout="constrained")
    axis = figure.add_subplot()
    for place, change in enumerate(changes):
        axis.plot([100 * end for end in change.ci95], [place, place], color=_COLORS["refined"], linewidth=1.2)
        axis.plot([100 * change.delta], [place], "o", color=_COLORS["refined"], markersize=4)
    axis.axvline(0, color="black", linewidth=0.6)
    _name(axis, [change.task for change in changes])
    axis.set_xlabel("refined − instructed, points, 95 % interval")
    return figure


def _training(curves: Sequence[Curve]) -> Figure:
    figure, axes = _grid(len(curves), 1.7, 2)
    for curve, axis in zip(curves, axes, strict=True):
        for line in curve.lines:
            values = [math.nan if value is None else value for value in line.values]
            axis.plot(values, color=_COLORS[line.style], linewidth=0.9, label=line.label)
        axis.set(title=curve.title, xlabel="step", ylabel=curve.unit)
        if len(curve.lines) > 1:
            axis.legend(fontsize=7)
    return figure
