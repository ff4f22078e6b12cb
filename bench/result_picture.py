"""A kept study over an axis of numbers → the README's picture of a result.

python bench/result_picture.py STUDY > docs/result.svg

Draws the study's own curves: mean accuracies over its tasks and seeds, with their 95 % intervals.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srit.study.estimates import read_study_results
from srit.study.tables.curves import Curve, make_curves

COLORS = {"instructed": "#3d7ab5", "refined": "#cb5a1e"}  # as in the page of a run
STYLE: dict[Any, object] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "srit",  # the same figure is the same bytes
}
WIDTH, HEIGHT = 7.2, 2.7  # inches


def draw(axes: Axes, curve: Curve, title: str) -> None:
    """Draw each line of a curve with its intervals."""
    for line in curve.lines:
        x, mean, low, high = zip(*line.points, strict=True)
        color = COLORS[line.label]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, mean, "o-", color=color, markersize=4)
        side = "bottom" if line.label == "refined" else "top"  # the lines may end close to each other
        axes.annotate(line.label, (x[-1], mean[-1]), (6, 0), textcoords="offset points", color=color, va=side)
    axes.set(title=title, xlabel="demonstrations of each task", xticks=x, ylim=(0, 85), xlim=(x[0] - 2, x[-1] + 11))


def main(study: str) -> None:
    """Write the picture to stdout."""
    inside, outside = make_curves(read_study_results(Path(study) / "study.json"))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        draw(left, inside, "tasks trained on")
        draw(right, outside, "tasks never trained on")
        left.set_ylabel("percent correct")
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    print("\n".join(line.rstrip() for line in written.getvalue().splitlines()))


if __name__ == "__main__":
    main(*sys.argv[1:])
