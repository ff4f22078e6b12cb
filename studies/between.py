"""Refined of a cell of one study minus refined of a cell of another, on the problems and seeds that both have.

    python studies/between.py studies/preference-passes "3 passes, RFT" studies/preference-shipped RFT

Tasks are matched by name, whatever their options: sums of several depths with sums of three terms. Prints a table in
Markdown, in points; p is that of a t test over the seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path

from srit.records import Model
from srit.signed import change_points, points
from srit.stages.results import DOMAINS
from srit.study.estimates import Estimate, Key, StudyResults, difference, domain_tasks, read_study_results
from srit.study.statistics import t_test


def main(a: str, a_cell: str, b: str, b_cell: str) -> None:
    sides = [(read_study_results(Path(study) / "study.json"), cell) for study, cell in ((a, a_cell), (b, b_cell))]
    marks = {
        key._replace(cell=side): rows
        for side, (results, cell) in zip("ab", sides, strict=True)
        for key, rows in results.marks.items()
        if key.cell == cell
    }
    print("| task | difference | by seed | p |\n| --- | --- | --- | ---: |")
    for domain in ("in", "out"):
        of_a, of_b = ({_kind(task): task for task in _tasks(*side, domain)} for side in sides)
        pairs = [(_refined("a", of_a[kind]), _refined("b", of_b[kind])) for kind in of_a if kind in of_b]
        for name, some in ((DOMAINS[domain], pairs), *((pair[0].task, [pair]) for pair in pairs)):
            print(_row(name, difference(marks, some)))


def _tasks(results: StudyResults, cell: str, domain: str) -> list[str]:
    return next(domain_tasks(results, one, domain) for one in results.cells if one.cell == cell)


def _kind(task: str) -> str:
    return task.partition(":")[0]


def _refined(side: str, task: str) -> Key:
    return Key(side, Model("refined"), task, "cot")


def _row(name: str, found: Estimate | None) -> str:
    if found is None:
        return f"| {name} | no common problems | | |"
    p = f"{t_test(found.by_seed):.2g}" if found.n_seeds > 1 else ""
    return f"| {name} | {change_points(found.mean, found.ci95)} | {', '.join(map(points, found.by_seed))} | {p} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
