"""study.json → a sentence for each claim, written by a rule from the figures.

The rule. A claim is tested on every task of every cell that it names: the same answers under two names count once.
All of a study's comparisons are one family, and Holm's correction is over it. Their mean difference, each task
alike, is surely on one side of 0 where its hierarchical bootstrap interval holds no 0 and, of several seeds, their
own mean differences are on that side by Student's t test (p < 0.05): the bootstrap knows little of so few. Then a claim

- holds where it is surely above 0, and no comparison is significantly (Holm p < 0.05) the other way;
- is worse where it is surely below 0, and no comparison is significantly the other way;
- is mixed where comparisons are significant in both directions, or against that side;
- has no evidence either way where it is on no side surely;
- is not tested where no two finished cells have both models and answers to the same problems.

Runs of its cells that are not done are counted in the sentence. With fewer than three seeds (METHOD: at least three
for any claim) it ends in "provisional".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from srit.scores import Interval
from srit.stages.results import DOMAINS
from srit.study.figures import Figure, Key, Results, common_seeds, compare_answers, difference, domain_tasks
from srit.study.statistics import Paired, holm, t_test

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
    claims = results.study["claims"]
    named = [list(_pairs(results, claim)) for claim in claims]
    pairs = [_distinct(results, of_claim) for of_claim in named]
    same = _distinct(results, [pair for of_claim in pairs for pair in of_claim.values()])
    tested = {pair: compare_answers(results, *pair) for pair in same}
    family = {pair: result.p for pair in same.values() if (result := tested[pair]) is not None}
    adjusted = dict(zip(family, holm(list(family.values())), strict=True))
    found = []
    for claim, of_claim in zip(claims, pairs, strict=True):
        there = {pair: result for pair in of_claim.values() if (result := tested[pair]) is not None}
        compared = [
            Compared(*pair, result, adjusted[same[pair]], len(common_seeds(results, [pair])))
            for pair, result in there.items()
        ]
        why = "no seed has all of these tasks" if there else _untested(results, claim, len(of_claim))
        found.append(judge(statement(claim), compared, difference(results, there), why, _unfinished(results, claim)))
    return found


def _untested(results: Results, claim: Mapping[str, Any], n_pairs: int) -> str:
    """Why a claim without comparisons has none."""
    if n_pairs:
        return "the two never answered the same problems"
    if any(_others(results, cell, claim) for cell in results.cells if has_labels(cell["labels"], claim["where"])):
        return "no finished cell has both models on such tasks and prompts"
    return "no two cells have these labels and share the others"


def _unfinished(results: Results, claim: Mapping[str, Any]) -> str:
    """How many runs of a claim's cells are not done, in words; "" where all are."""
    cells = [cell for cell in results.cells if has_labels(cell["labels"], claim["where"])]
    cells += [other for cell in cells for other in _others(results, cell, claim)]
    status = {(cell["cell"], run["seed"]): run["status"] for cell in cells for run in cell["runs"]}
    n = sum(value != "done" for value in status.values())
    return f"; {n} of {len(status)} runs not finished" if n else ""


def judge(
    claim: Statement, compared: Sequence[Compared], pooled: Figure | None, untested: str, unfinished: str
) -> Verdict:
    """The rule above.

    Args:
        untested: why there is no comparison, if there is none.
        unfinished: how many runs are not done, to be added; or "".
    """
    beats, against = claim.told("beats"), claim.told("against")
    if pooled is None:
        return Verdict(beats, "not tested", f"not tested: {against}: {untested}{unfinished}", [], None)
    p_seeds = t_test(pooled.by_seed) if len(pooled.by_seed) > 1 else None
    outcome = outcome_of([(c.result.delta, c.p_holm) for c in compared], pooled.ci95, p_seeds)
    of = f"{len(compared)} {'tasks' if len({c.a.task for c in compared}) == len(compared) else 'comparisons'}"
    first, second = (-1, 1) if outcome == "worse" else (1, -1)
    counted = f"{_counted(compared, first, f' of {of}')}, {_counted(compared, second, '')}"
    verb = {"holds": "beats", "worse": "is below"}.get(outcome, "against")
    change = f"pooled {points(pooled.mean)} points ({points(pooled.ci95.low)} to {points(pooled.ci95.high)})"
    if p_seeds is not None:
        change += f", by seed {', '.join(map(points, pooled.by_seed))} (t test p = {p_seeds:.2g})"
    few = "" if pooled.n_seeds >= SEEDS else f"; {pooled.n_seeds} of the {SEEDS} seeds a claim needs: provisional"
    said = f"{outcome}: {claim.told(verb)}: {counted}; {change}{unfinished}{few}"
    return Verdict(beats, outcome, said, list(compared), pooled)


def _counted(compared: Sequence[Compared], sign: int, of: str) -> str:
    """On how many a is ahead (1) or behind (-1), and on how many of these surely."""
    there = [c for c in compared if sign * c.result.delta > 0]
    sure = sum(c.p_holm < SIGNIFICANT for c in there)
    counted = f"{'ahead' if sign > 0 else 'behind'} on {len(there)}{of}"
    return f"{counted} (Holm p < {SIGNIFICANT} on {sure})" if there else counted


def outcome_of(compared: Sequence[tuple[float, float]], ci95: Interval, p_seeds: float | None) -> str:
    """Of differences with their Holm p, the interval of their mean, and p of its seeds where there are several."""
    sure = {delta > 0 for delta, p in compared if p < SIGNIFICANT}
    by_seeds = p_seeds is None or p_seeds < SIGNIFICANT
    if ci95.low > 0 and by_seeds:
        return "mixed" if False in sure else "holds"
    if ci95.high < 0 and by_seeds:
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
        if not has_labels(cell["labels"], claim["where"]):
            continue
        for other in _others(results, cell, claim):
            for task in domain_tasks(results, cell, claim["domain"]):
                keys = [
                    Key(c["cell"], model, task, claim["prompt"])
                    for c, model in ((cell, claim["a"]), (other, claim["b"]))
                ]
                if keys[0] != keys[1] and all(key in results.answers for key in keys):
                    yield keys[0], keys[1]


def _others(results: Results, cell: Mapping[str, Any], claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells that a claim sets against a cell."""
    if not claim["against"]:
        return [dict(cell)]
    return [other for other in results.cells if set_against(cell["labels"], other["labels"], claim)]


def set_against(labels: Mapping[str, str], other: Mapping[str, str], claim: Mapping[str, Any]) -> bool:
    """Whether a claim with `against` sets a cell of its `where` against another cell, by the labels of both."""
    named = {*claim["where"], *claim["against"]}
    same = claim["same"] if claim["same"] is not None else [label for label in labels if label not in named]
    return has_labels(other, claim["against"]) and all(other.get(label) == labels.get(label) for label in same)


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a cell has all of the wanted labels."""
    return all(labels.get(label) == value for label, value in wanted.items())


def _distinct(results: Results, pairs: Sequence[tuple[Key, Key]]) -> dict[tuple[Key, Key], tuple[Key, Key]]:
    """Each pair, and the one that stands for it: cells that share their models are one comparison.

    Two pairs are one where their answers are the same with all seeds that both have; the one with more seeds stands
    for both.
    """
    by_kind: dict[tuple[str, ...], list[tuple[Key, Key]]] = {}
    stands_for: dict[tuple[Key, Key], tuple[Key, Key]] = {}
    for pair in sorted(dict.fromkeys(pairs), key=lambda pair: -len(common_seeds(results, [pair]))):
        kind = by_kind.setdefault((pair[0].task, pair[0].prompt, pair[0].model, pair[1].model), [])
        found = next((other for other in kind if _same_answers(results, pair, other)), None)
        if found is None:
            kind.append(pair)
        stands_for[pair] = found or pair
    return {pair: stands_for[pair] for pair in pairs}


def _same_answers(results: Results, pair: tuple[Key, Key], other: tuple[Key, Key]) -> bool:
    seeds = set.intersection(*(set(common_seeds(results, [one])) for one in (pair, other)))
    rows = [[results.answers[key][seed] for key in one for seed in sorted(seeds)] for one in (pair, other)]
    answers = [[(row["problems"], row["right"]) for row in of_pair] for of_pair in rows]
    return bool(seeds) and answers[0] == answers[1]
