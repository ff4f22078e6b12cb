"""study.json → the tables that its grid supports."""

from __future__ import annotations

from collections.abc import Sequence

from srit.study.claims import Finding
from srit.study.estimates import StudyResults
from srit.study.tables.answers import answers
from srit.study.tables.comparisons import comparisons, unfinished
from srit.study.tables.curves import curve_table, make_curves
from srit.study.tables.domains import by_teacher, in_domain, out_of_domain
from srit.study.tables.effects import flips, places
from srit.study.tables.entries import Table
from srit.study.tables.mattered import anatomy, mattered, overlaps
from srit.study.tables.options import calibration, options, passes
from srit.study.tables.training import arms, training
from srit.study.tables.transfers import cross, families


def make_tables(results: StudyResults, findings: Sequence[Finding]) -> list[Table]:
    """Make every table that the study has data for."""
    made = [
        by_teacher(results),
        in_domain(results),
        *out_of_domain(results),
        families(results),
        *cross(results),
        arms(results),
        training(results),
        mattered(results),
        overlaps(results),
        anatomy(results),
        places(results),
        flips(results),
        answers(results),
        options(results),
        calibration(results),
        *passes(results),
        comparisons(findings),
        *(curve_table(curve) for curve in make_curves(results)),
        unfinished(results),
    ]
    return [table for table in made if table is not None and table.rows]
