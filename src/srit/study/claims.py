"""study.json → a sentence for each claim, written by a rule from the figures.

The rule. A claim is tested on every task of every cell that it names: the same answers under two names count once.
All of a study's comparisons are one family, and Holm's correction is over it. Their mean difference, each task
alike, has a hierarchical bootstrap interval. Then a claim

- holds where that interval lies above 0, and no comparison is significantly (Holm p < 0.05) the other way;
- is worse where the interval lies below 0, and no comparison is significantly the other way;
- is mixed where comparisons are significant in both directions, or against the interval's side;
- has no evidence either way where the interval holds 0;
- is not tested where no finished cell has both models.

Runs of its cells that are not done are counted in the sentence. With fewer than three seeds (METHOD: at least three
for any claim) it ends in "provisional".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from srit.intervals import Interval
from srit.results import DOMAINS
from srit.study.figures import Figure, Key, Results, common_seeds, compare_answers, difference, domain_tasks
from srit.study.statistics import Paired, holm

SIGNIFICANT = 0.05
SEEDS = 3  # that a claim needs


class Compared(NamedTuple):
    """One comparison of the study's family."""

    a: Key
    b: Key
    result: Paired
    p_holm: float
    n_seeds: int


class Statement(NamedTuple):
    """What is claimed, in words."""

    a: str
    b: str
    where: str  # such as "in-domain"

    def told(self, verb: str) -> str:
        """Such as "refined beats instructed in-domain"."""
        return f"{self.a} {verb} {self.b} {self.where}"


class Verdict(NamedTuple):
    """A claim and what came of it."""

    claim: str
    outcome: str  # "holds", "worse", "mixed", "no evidence either way" or "not tested"
    sentence: str
    compared: list[Compared]
    pooled: Figure | None


def verdicts(results: Results) -> list[Verdict]:
    """One for each claim of the study."""
    pairs = [_distinct(results, _pairs(results, claim)) for claim in results.study["claims"]]
    family = {pair: compare_answers(results, *pair) for of_claim in pairs for pair in of_claim}
    tested = {pair: result for pair, result in family.items() if result is not None}
    adjusted = dict(zip(tested, holm([result.p for result in tested.values()]), strict=True))
    found = []
    for claim, of_claim in zip(results.study["claims"], pairs, strict=True):
        compared = [
            Compared(*pair, tested[pair], adjusted[pair], len(common_seeds(results, [pair])))
            for pair in of_claim
            if pair in tested
        ]
        pooled = difference(results, [pair for pair in of_claim if pair in tested])
        found.append(judge(statement(claim), compared, pooled, _unfinished(results, claim)))
    return found


def _unfinished(results: Results, claim: Mapping[str, Any]) -> str:
    """How many runs of a claim's cells are not done, in words; "" where all are."""
    cells = [cell for cell in results.cells if _has(cell, claim["where"])]
    cells += [other for cell in cells for other in _others(results, cell, claim)]
    status = {(cell["cell"], run["seed"]): run["status"] for cell in cells for run in cell["runs"]}
    n = sum(value != "done" for value in status.values())
    return f"; {n} of {len(status)} runs not finished" if n else ""


def judge(claim: Statement, compared: Sequence[Compared], pooled: Figure | None, unfinished: str) -> Verdict:
    """The rule above."""
    beats, against = claim.told("beats"), claim.told("against")
    if pooled is None or not compared:
        why = "no finished cell has both models" if unfinished else "no cell has both models on such tasks and prompts"
        return Verdict(beats, "not tested", f"not tested: {against}: {why}{unfinished}", [], None)
    outcome = outcome_of([(c.result.delta, c.p_holm) for c in compared], pooled.ci95)
    of = f"{len(compared)} {'tasks' if len({c.a.task for c in compared}) == len(compared) else 'comparisons'}"
    first, second = (-1, 1) if outcome == "worse" else (1, -1)
    counted = f"{_counted(compared, first, f' of {of}')}, {_counted(compared, second, '')}"
    verb = {"holds": "beats", "worse": "is below"}.get(outcome, "against")
    change = f"pooled {points(pooled.mean)} points ({points(pooled.ci95.low)} to {points(pooled.ci95.high)})"
    change += unfinished
    few = "" if pooled.n_seeds >= SEEDS else f"; {pooled.n_seeds} of the {SEEDS} seeds a claim needs: provisional"
    said = f"{outcome}: {claim.told(verb)}: {counted}; {change}{few}"
    return Verdict(beats, outcome, said, list(compared), pooled)


def _counted(compared: Sequence[Compared], sign: int, of: str) -> str:
    """On how many a is ahead (1) or behind (-1), and on how many of these surely."""
    there = [c for c in compared if sign * c.result.delta > 0]
    sure = sum(c.p_holm < SIGNIFICANT for c in there)
    counted = f"{'ahead' if sign > 0 else 'behind'} on {len(there)}{of}"
    return f"{counted} (Holm p < {SIGNIFICANT} on {sure})" if there else counted


def outcome_of(compared: Sequence[tuple[float, float]], ci95: Interval) -> str:
    """Of differences with their Holm p, and the interval of their mean."""
    sure = {delta > 0 for delta, p in compared if p < SIGNIFICANT}
    if ci95.low > 0:
        return "mixed" if False in sure else "holds"
    if ci95.high < 0:
        return "mixed" if True in sure else "worse"
    return "mixed" if len(sure) == 2 else "no evidence either way"


def statement(claim: Mapping[str, Any]) -> Statement:
    """A claim of the study in words."""
    a, b = _side(claim["a"], claim["where"]), _side(claim["b"], claim["against"])
    return Statement(a, b, DOMAINS[claim["domain"]] + (", direct prompt" if claim["prompt"] == "direct" else ""))


def points(share: float) -> str:
    """A share as signed points, with the minus of print."""
    return signed(100 * share, 1)


def change_points(mean: float, ci95: Interval) -> str:
    """A difference of shares with its interval, as signed points."""
    return f"{points(mean)} ({points(ci95.low)} to {points(ci95.high)})"


def signed(value: float, digits: int) -> str:
    """With its sign, the minus of print, and no negative zero."""
    return f"{value:+z.{digits}f}".replace("-", "−")


def _side(model: str, labels: Mapping[str, str]) -> str:
    said = ", ".join(f"{label} {value}" for label, value in labels.items())
    return f"{model} ({said})" if said else model


def _pairs(results: Results, claim: Mapping[str, Any]) -> Iterator[tuple[Key, Key]]:
    for cell in results.cells:
        if not _has(cell, claim["where"]):
            continue
        for other in _others(results, cell, claim):
            for task in domain_tasks(results, cell, claim["domain"]):
                keys = [
                    Key(c["cell"], model, task, claim["prompt"])
                    for c, model in ((cell, claim["a"]), (other, claim["b"]))
                ]
                if all(key in results.answers for key in keys):
                    yield keys[0], keys[1]


def _others(results: Results, cell: Mapping[str, Any], claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells that a claim sets against a cell."""
    if not claim["against"]:
        return [dict(cell)]
    named = {*claim["where"], *claim["against"]}
    same = claim["same"] if claim["same"] is not None else [label for label in cell["labels"] if label not in named]
    return [
        other
        for other in results.cells
        if _has(other, claim["against"])
        and all(other["labels"].get(label) == cell["labels"].get(label) for label in same)
    ]


def _has(cell: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(cell["labels"].get(label) == value for label, value in labels.items())


def _distinct(results: Results, pairs: Iterator[tuple[Key, Key]]) -> list[tuple[Key, Key]]:
    """Without those whose answers are all the same: cells that share their models are one comparison."""
    seen: dict[str, tuple[Key, Key]] = {}
    for a, b in pairs:
        rows = [{seed: row["right"] for seed, row in results.answers[key].items()} for key in (a, b)]
        seen.setdefault(repr((rows, a.task, a.prompt, a.model, b.model)), (a, b))
    return list(seen.values())
