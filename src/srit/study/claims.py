"""study.json → a finding for each claim, with a sentence written by rule from the figures.

The rule: a claim is tested on every task of every cell that it names; the same answers under two names count once. All
comparisons of a study are one family, over which Holm's correction is made. Their mean difference, with each task
counting equally, is surely on one side of 0 if its hierarchical bootstrap interval does not contain 0 and, with several
seeds, the seeds' own mean differences are on that side by Student's t test (p < 0.05), since the bootstrap knows little
about so few seeds. Then a claim

- holds if it is surely above 0, and no comparison is significantly (Holm p < 0.05) the other way;
- is worse if it is surely below 0, and no comparison is significantly the other way;
- is mixed if comparisons are significant in both directions, or against that side;
- has no evidence either way if it is surely on neither side;
- is not tested if no two finished cells have both models and answers to the same problems.

The sentence counts the runs of its cells that are not done. A claim needs at least three seeds: with fewer, its
sentence ends in "provisional".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from srit.intervals import SIGNIFICANT
from srit.records.scores import Interval
from srit.study.estimates import (
    Estimate,
    Key,
    Marked,
    StudyResults,
    common_seeds,
    compare_answers,
    difference,
    domain_tasks,
)
from srit.study.labels import has_labels, set_against
from srit.study.records import CellRecord, Claim
from srit.study.statistics import Paired, holm
from srit.study.words import Statement, counted, pooled_change, statement

SEEDS = 3  # that a claim needs

Outcome = Literal["holds", "worse", "mixed", "no evidence either way", "not tested"]
_Pair = tuple[Key, Key]


class Compared(NamedTuple):
    """One comparison of the study's family."""

    a: Key
    b: Key
    result: Paired
    p_holm: float
    n_seeds: int


class Finding(NamedTuple):
    """A claim and its outcome."""

    claim: str
    outcome: Outcome
    sentence: str
    compared: list[Compared]
    pooled: Estimate | None


def findings(results: StudyResults, claims: Sequence[Claim] | None = None) -> list[Finding]:
    """Test claims, which are one family of comparisons.

    Args:
        claims: None: those of the study.
    """
    claims = results.record.study.claims if claims is None else claims
    marks = results.marks
    pairs = [list(_distinct(marks, list(compared_by(results, claim))).values()) for claim in claims]
    stands_for = _distinct(marks, [pair for of_claim in pairs for pair in of_claim])
    compared = {pair: result for pair in stands_for if (result := compare_answers(marks, *pair)) is not None}
    family = {pair: compared[pair].p for pair in stands_for.values() if pair in compared}
    p_holm = dict(zip(family, holm(list(family.values())), strict=True))
    found = []
    for claim, of_claim in zip(claims, pairs, strict=True):
        there = [
            Compared(*pair, compared[pair], p_holm[stands_for[pair]], len(common_seeds(marks, [pair])))
            for pair in dict.fromkeys(of_claim)
            if pair in compared
        ]
        why = "no seed has all of these tasks" if there else _untested(results, claim, len(of_claim))
        pooled = difference(marks, [(c.a, c.b) for c in there])
        found.append(judge(statement(claim), there, pooled, why, _unfinished(results, claim)))
    return found


def _untested(results: StudyResults, claim: Claim, n_pairs: int) -> str:
    """Say why a claim has no comparisons."""
    if n_pairs:
        return "the two never answered the same problems"
    if any(_others(results, cell, claim) for cell in results.cells if has_labels(cell.labels, claim.where)):
        return "no finished cell has both models on such tasks and prompts"
    return "no two cells have these labels and share the others"


def _unfinished(results: StudyResults, claim: Claim) -> str:
    """Say how many runs of a claim's cells are not done; "" if all are."""
    cells = [cell for cell in results.cells if has_labels(cell.labels, claim.where)]
    cells += [other for cell in cells for other in _others(results, cell, claim)]
    status = {(cell.cell, run.seed): run.status for cell in cells for run in cell.runs}
    n = sum(value != "done" for value in status.values())
    return f"; {n} of {len(status)} runs not finished" if n else ""


def judge(
    claim: Statement, compared: Sequence[Compared], pooled: Estimate | None, untested: str, unfinished: str
) -> Finding:
    """Apply the rule above.

    Args:
        untested: why there is no comparison, if there is none.
        unfinished: how many runs are not done, to be added; or "".
    """
    beats, against = claim.sentence("beats"), claim.sentence("against")
    if pooled is None:
        return Finding(beats, "not tested", f"not tested: {against}: {untested}{unfinished}", [], None)
    outcome = outcome_of([(c.result.delta, c.p_holm) for c in compared], pooled.ci95, pooled.p_seeds)
    what = "tasks" if len({c.a.task for c in compared}) == len(compared) else "comparisons"
    first, second = (-1, 1) if outcome == "worse" else (1, -1)
    counts = f"{_counted(compared, first, f' of {len(compared)} {what}')}, {_counted(compared, second, '')}"
    verb = {"holds": "beats", "worse": "is below"}.get(outcome, "against")
    few = "" if pooled.n_seeds >= SEEDS else f"; {pooled.n_seeds} of the {SEEDS} seeds a claim needs: provisional"
    said = f"{outcome}: {claim.sentence(verb)}: {counts}; {pooled_change(pooled)}{unfinished}{few}"
    return Finding(beats, outcome, said, list(compared), pooled)


def _counted(compared: Sequence[Compared], sign: int, of: str) -> str:
    there = [c for c in compared if sign * c.result.delta > 0]
    n_sure = sum(c.p_holm < SIGNIFICANT for c in there)
    return counted(there, n_sure, ahead=sign > 0, of=of, significant=SIGNIFICANT)


def outcome_of(compared: Sequence[tuple[float, float]], ci95: Interval, p_seeds: float | None) -> Outcome:
    """Decide on a claim.

    Args:
        compared: differences with their Holm p.
        ci95: of their mean.
        p_seeds: of the seeds' own means; None: there is one seed.
    """
    sure = {delta > 0 for delta, p in compared if p < SIGNIFICANT}
    by_seeds = p_seeds is None or p_seeds < SIGNIFICANT
    if ci95.low > 0 and by_seeds:
        return "mixed" if False in sure else "holds"
    if ci95.high < 0 and by_seeds:
        return "mixed" if True in sure else "worse"
    return "mixed" if len(sure) == 2 else "no evidence either way"


def compared_by(results: StudyResults, claim: Claim) -> Iterator[tuple[Key, Key]]:
    """Yield the answers that a claim compares, those of its a first."""
    for cell in results.cells:
        if not has_labels(cell.labels, claim.where):
            continue
        for other in _others(results, cell, claim):
            for task in domain_tasks(results, cell, claim.domain):
                a = Key(cell.cell, claim.a, task, claim.prompt)
                b = Key(other.cell, claim.b, task, claim.prompt)
                if a != b and a in results.marks and b in results.marks:
                    yield a, b


def _others(results: StudyResults, cell: CellRecord, claim: Claim) -> list[CellRecord]:
    """Return the cells that a claim compares with a cell."""
    if not claim.against:
        return [cell]
    return [other for other in results.cells if set_against(cell.labels, other.labels, claim)]


def _distinct(marks: Marked, pairs: Sequence[_Pair]) -> dict[_Pair, _Pair]:
    """Map each pair to the one that stands for it: cells that share their models are one comparison.

    Two pairs are one if their answers are the same for all seeds that both have; the one with more seeds stands for
    both.
    """
    by_kind: dict[tuple[object, ...], list[_Pair]] = {}
    stands_for: dict[_Pair, _Pair] = {}
    for pair in sorted(dict.fromkeys(pairs), key=lambda pair: -len(common_seeds(marks, [pair]))):
        kind = by_kind.setdefault((pair[0].task, pair[0].prompt, pair[0].model, pair[1].model), [])
        found = next((other for other in kind if _same_answers(marks, pair, other)), None)
        if found is None:
            kind.append(pair)
        stands_for[pair] = found or pair
    return {pair: stands_for[pair] for pair in pairs}


def _same_answers(marks: Marked, pair: _Pair, other: _Pair) -> bool:
    seeds = set.intersection(*(set(common_seeds(marks, [one])) for one in (pair, other)))
    answers = [[marks[key][seed] for key in one for seed in sorted(seeds)] for one in (pair, other)]
    return bool(seeds) and answers[0] == answers[1]
