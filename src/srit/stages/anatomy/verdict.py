"""Did the pairs matter? One sentence, by rule from the figures.

The rule: if there is also a control fine-tuned on the student's own right answers (`controls: [right]`), it decides.
The pairs mattered if the first round's model is surely ahead of the control, did harm if it is surely behind, and both
if the two domains disagree. Surely means that the 95 % interval of the difference does not contain 0 and, over several
seeds, that a t test of the seeds' own differences agrees. If it is neither, the pairs hardly mattered if they had
little to teach, and otherwise there is no evidence that they mattered.

Without that control, only what they had to teach is known. It is little if the chosen answer is already the likelier
one in at least half of the pairs, and at most half of them reject their problem's likeliest answer: greedy answers then
hardly depend on what is rejected. Both thresholds are a choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from srit.records import Domain, Model
from srit.records.anatomy import Anatomy, PairCounts
from srit.records.scores import Interval, Results
from srit.signed import change_points
from srit.stages.anatomy.overlaps import in_common

ENOUGH = 0.5  # of the pairs
RIGHT = Model("control", control="right")
_WHERE: dict[Domain, str] = {"in": "in-domain", "out": "out-of-domain"}

Mattered = Literal["mattered", "did harm", "helped and harmed", "hardly mattered", "no evidence", "little to teach",
                   "something to teach", "no pairs", "not known"]  # fmt: skip


class Ahead(NamedTuple):
    """How far the first round's model is ahead of fine-tuning on own right answers."""

    delta: float  # of the accuracies
    ci95: Interval
    sure: bool  # by the rule above


class Verdict(NamedTuple):
    """Whether the pairs mattered, and a sentence that says so with the figures."""

    outcome: Mattered
    sentence: str


def verdict_of(results: Results, anatomy: Anatomy | None) -> Verdict | None:
    """Return the verdict on a finished run; None if it is not finished.

    Args:
        anatomy: of the first round; None: it was not counted.
    """
    trained = [row.model for row in results.rows if row.model.kind == "refined"]
    if not trained:
        return None
    first = min(trained, key=lambda model: model.is_last)  # "refined-1" if there are several rounds
    prompt = min(row.prompt for row in results.rows if row.model == first)  # "cot", unless only "direct" was asked
    compared = [c for c in results.comparisons if (c.a, c.b, c.prompt) == (first, RIGHT, prompt)]
    ahead = {
        c.domain: Ahead(c.delta, c.ci95, not c.ci95.low <= 0 <= c.ci95.high)
        for c in compared
        if c.task.startswith("all ")
    }
    alike = [
        o for o in results.overlaps if (o.a, o.b, o.prompt) == (first, RIGHT, prompt) and o.task.startswith("all ")
    ]
    newly = in_common(*(sum(getattr(o, field) for o in alike) for field in ("newly_a", "newly_b", "newly_both")))
    return verdict(anatomy, ahead, newly)


def verdict(anatomy: Anatomy | None, ahead: Mapping[Domain, Ahead], in_common: float | None = None) -> Verdict:
    """Apply the rule above. A loss of all samples of a problem learns from wrong ones without pairs.

    Args:
        anatomy: its last pairs are of all tasks; None: they were not counted.
        ahead: by domain; empty: the control was not trained.
        in_common: of the problems that refined or the control newly have right, the share that both have.
    """
    learned = "pairs" if anatomy is None else anatomy.learned
    pairs = anatomy.pairs[-1] if anatomy and anatomy.pairs and learned == "pairs" else None
    if anatomy is not None and pairs is None and learned != "samples":
        return Verdict("no pairs", "No pairs were learned: only right answers were.")
    outcome = _outcome(pairs, ahead)
    said = [_control(ahead, in_common)] if ahead else []
    said += [_anatomy(pairs)] if pairs is not None else []
    if not ahead:
        said.append("set controls: [right] to see whether they matter")
    begins = _BEGINS[outcome].format("pairs" if learned == "pairs" else "wrong answers")
    return Verdict(outcome, f"{begins}: {'; '.join(said)}.")


_BEGINS: dict[Mattered, str] = {
    "mattered": "The {} mattered",
    "did harm": "The {} did harm",
    "helped and harmed": "The {} helped in one domain and did harm in the other",
    "hardly mattered": "The {} hardly mattered",
    "no evidence": "There is no evidence that the {} mattered",
    "little to teach": "The {} had little to teach",
    "something to teach": "The {} had something to teach",
    "not known": "Whether the {} mattered is not known",
}


def _outcome(pairs: PairCounts | None, ahead: Mapping[Domain, Ahead]) -> Mattered:
    better = any(one.sure and one.delta > 0 for one in ahead.values())
    worse = any(one.sure and one.delta < 0 for one in ahead.values())
    if better or worse:
        return "helped and harmed" if better and worse else "mattered" if better else "did harm"
    little = None if pairs is None else _is_little(pairs)
    if ahead:
        return "hardly mattered" if little else "no evidence"
    return "not known" if little is None else "little to teach" if little else "something to teach"


def _is_little(pairs: PairCounts) -> bool | None:
    """Return whether pairs had little to teach; None if no pair has two samples."""
    if not pairs.scored:
        return None
    ordered, likeliest = pairs.chosen_likelier / pairs.scored, pairs.rejected_likeliest / pairs.pairs
    return ordered >= ENOUGH and likeliest <= ENOUGH


def _control(ahead: Mapping[Domain, Ahead], in_common: float | None) -> str:
    gains = " and ".join(f"{change_points(of.delta, of.ci95)} points {_WHERE[domain]}" for domain, of in ahead.items())
    text = f"refined leads fine-tuning on the student's own right answers by {gains}"
    return text if in_common is None else f"{text}, and {_percent(in_common)} of what either newly has right, both have"


def _anatomy(pairs: PairCounts) -> str:
    likeliest = f"{_percent(pairs.rejected_likeliest / pairs.pairs)} reject their problem's likeliest answer"
    if not pairs.scored:
        return f"of {pairs.pairs:,} pairs {likeliest}"
    ordered = _percent(pairs.chosen_likelier / pairs.scored)
    return (
        f"before training, chosen was already the likelier answer in {ordered} of {pairs.scored:,} pairs; {likeliest}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
