"""Tables of how training changed the pairs' likelihoods and the greedy answers to their problems (`evaluate.pairs`)."""

from __future__ import annotations

from collections.abc import Sequence

from srit.records.anatomy import Effect, Flips, PlaceLogps
from srit.signed import signed
from srit.study.estimates import StudyResults
from srit.study.records import CellRecord
from srit.study.tables.entries import Entry, Table, mean, name_of


def places(results: StudyResults) -> Table:
    """Show the log-probability of both sides by position in the answer, before and after."""
    rows = []
    for cell in results.cells:
        for of_model in _by_model(cell):
            kinds = dict.fromkeys((place.side, place.place) for effect in of_model for place in effect.places)
            for side, place in kinds:
                alike = [p for effect in of_model for p in effect.places if (p.side, p.place) == (side, place)]
                texts = (str(of_model[0].model), side, place, *_course(alike))
                rows.append((name_of(cell), *map(Entry, texts)))
    heads = ("side", "place", "tokens", "log p of a token, before", "after", "change")
    note = (
        "Nats a token, first round, over seeds. Beginning: before the first token that differs. Shared: after it, and "
        "in the other side too, in the same order; own: not there. If the beginning falls, training displaces what "
        "both sides share."
    )
    return Table("places", "Likelihood of the pairs by place", ("cell", "model", *heads), rows, note)


def _course(alike: Sequence[PlaceLogps]) -> tuple[str, str, str, str]:
    n = sum(one.tokens for one in alike)
    before, after = (sum(getattr(one, end) * one.tokens for one in alike) / n for end in ("before", "after"))
    return f"{n:,}", signed(before, 3), signed(after, 3), signed(after - before, 3)


def flips(results: StudyResults) -> Table:
    """Show which problems' greedy answers changed, by what their pairs reject, and whether margins predict it."""
    rows = []
    for cell in results.cells:
        for of_model in _by_model(cell):
            for kind in dict.fromkeys(flip.pairs for effect in of_model for flip in effect.flips):
                alike = [flip for effect in of_model for flip in effect.flips if flip.pairs == kind]
                rows.append((name_of(cell), Entry(str(of_model[0].model)), Entry(kind), *_flips(alike)))
    heads = (
        "its pairs",
        "problems",
        "wrong before",
        "fixed, % of these",
        "broken, % of the others",
        "AUC of the margin",
    )
    note = (
        "Greedy answers to the problems of the first round under the CoT prompt, over seeds. AUC: the chance that the "
        "margin of a problem that was fixed grew by more than that of one that stayed wrong; 0.5 tells nothing."
    )
    return Table("flips", "Greedy answers to the pairs' problems", ("cell", "model", *heads), rows, note)


def _flips(alike: Sequence[Flips]) -> list[Entry]:
    n, wrong = sum(one.problems for one in alike), sum(one.wrong_before for one in alike)
    fixed, broken = sum(one.fixed for one in alike), sum(one.broken for one in alike)
    auc = mean([one.auc for one in alike if one.auc is not None])
    shares = ("" if not of else f"{100 * part / of:.0f}" for part, of in ((fixed, wrong), (broken, n - wrong)))
    return [Entry(text) for text in (f"{n:,}", f"{wrong:,}", *shares, "" if auc is None else f"{auc:.2f}")]


def _by_model(cell: CellRecord) -> list[list[Effect]]:
    """Return the first round's effects of each model, by seed."""
    found: dict[str, list[Effect]] = {}
    for run in cell.done():
        for effect in run.effects[0].trainings if run.effects else ():
            found.setdefault(str(effect.model), []).append(effect)
    return list(found.values())
