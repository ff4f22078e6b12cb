"""Tables of every comparison that the claims rest on, and of the runs that are not finished."""

from __future__ import annotations

from collections.abc import Sequence

from srit.intervals import p_value
from srit.signed import change_points, signed
from srit.study.claims import Compared, Finding
from srit.study.estimates import StudyResults
from srit.study.records import FailedRun, RunRecord
from srit.study.tables.entries import Entry, Table, name_of


def comparisons(findings: Sequence[Finding]) -> Table:
    """Show the family of comparisons, claim by claim."""
    rows = [_comparison(finding.claim, compared) for finding in findings for compared in finding.compared]
    heads = ("difference, points", "p", "Holm p", "a alone : b alone right", "odds ratio", "Cohen's h", "seeds")
    note = (
        "Interval: hierarchical bootstrap over seeds and problems, paired. p: exact sign-flip test of each problem's "
        "sum over seeds (McNemar's with one seed). Holm p: over all rows, the same answers counted once. Odds ratio: "
        "of the problems that only one model has right."
    )
    return Table("comparisons", "Every comparison", ("claim", "cell", "task", *heads), rows, note)


def _comparison(claim: str, c: Compared) -> tuple[Entry, ...]:
    return (
        Entry(claim),
        Entry(c.a.cell if c.a.cell == c.b.cell else f"{c.a.cell} against {c.b.cell}"),
        Entry(c.a.task),
        Entry(change_points(c.result.delta, c.result.ci95)),
        *(Entry(p_value(p), strong=p < 0.05) for p in (c.result.p, c.p_holm)),
        Entry(f"{c.result.only_a} : {c.result.only_b}"),
        Entry(f"{c.result.odds_ratio:.2f}"),
        Entry(signed(c.result.cohen_h, 2)),
        Entry(str(c.n_seeds)),
    )


def _reason(run: RunRecord) -> Entry:
    return Entry(run.reason if isinstance(run, FailedRun) else "")


def unfinished(results: StudyResults) -> Table:
    """List the cells that failed or wait."""
    rows = [
        (
            name_of(cell),
            Entry(str(run.seed)),
            Entry(run.status),
            _reason(run),
        )
        for cell in results.cells
        for run in cell.runs
        if run.status != "done"
    ]
    return Table("unfinished", "Not finished", ("cell", "seed", "status", "reason"), rows)
