"""Tables on whether the pairs mattered: what they had to teach, and what trainings with and without them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from srit.intervals import SIGNIFICANT
from srit.records import Domain, Model, PromptKind
from srit.records.anatomy import Anatomy, PairCounts, SampleCounts
from srit.signed import number
from srit.stages.anatomy.overlaps import OverlapCounts, by_chance, count_overlap, in_common
from srit.stages.anatomy.pairs import pooled
from srit.stages.anatomy.verdict import RIGHT, Ahead, verdict
from srit.stages.results import DOMAINS, INSTRUCTED, REFINED
from srit.study.estimates import (
    Estimate,
    Key,
    StudyResults,
    common_seeds,
    difference,
    domain_tasks,
    main_prompt,
    models_of,
)
from srit.study.records import CellRecord
from srit.study.tables.entries import Entry, Table, is_sure, name_of


class _Trained(NamedTuple):
    cell: CellRecord
    model: Model


def mattered(results: StudyResults) -> Table:
    """Say for each cell whether its pairs mattered, by rule."""
    rows = []
    for cell in results.cells:
        anatomy, reference = _anatomy_of(cell), _reference(results, cell)
        ahead = _ahead(results, _first_round(results, cell), reference) if reference else {}
        if anatomy is not None or ahead:
            counts = _overlap(results, _first_round(results, cell), reference, "any") if reference else None
            newly = counts and in_common(counts.newly_a, counts.newly_b, counts.newly_both)
            rows.append((name_of(cell), Entry(verdict(anatomy, ahead, newly).sentence)))
    note = "The rule is in `srit.stages.anatomy.verdict`. Intervals are over seeds and problems."
    return Table("mattered", "Did the pairs matter?", ("cell", "by rule from the figures"), rows, note)


def _anatomy_of(cell: CellRecord) -> Anatomy | None:
    """Add up the first round's pairs of all tasks over seeds; None if they were not counted."""
    firsts = [run.anatomies[0] for run in cell.done() if run.anatomies]
    if not firsts:
        return None
    pairs = pooled([anatomy.pairs[-1] for anatomy in firsts if anatomy.pairs])
    samples = tuple(anatomy.samples[-1] for anatomy in firsts if anatomy.samples)
    return Anatomy(samples, () if pairs is None else (pairs,), firsts[0].learned)


def _first_round(results: StudyResults, cell: CellRecord) -> _Trained:
    """Return the model that was trained for as much compute as a control."""
    first = Model("refined", 1, is_last=False)
    return _Trained(cell, first if first in models_of(results, cell.cell) else REFINED)


def _reference(results: StudyResults, cell: CellRecord) -> _Trained | None:
    """Return the model trained only on own right answers: the cell's control, or another cell's from the same start."""
    if RIGHT in models_of(results, cell.cell):
        return _Trained(cell, RIGHT)
    others = [_first_round(results, other) for other in results.cells if _learns_right_alone(other)]
    started = [other for other in others if _overlap(results, _first_round(results, cell), other, "any") is not None]
    return started[0] if started and not _learns_right_alone(cell) else None


def _learns_right_alone(cell: CellRecord) -> bool:
    anatomy = _anatomy_of(cell)
    return cell.changes.get("refine.loss") == "none" if anatomy is None else anatomy.learned == "right answers"


def _ahead(results: StudyResults, trained: _Trained, other: _Trained) -> dict[Domain, Ahead]:
    found: dict[Domain, Ahead] = {}
    domains: tuple[Domain, ...] = ("in", "out")
    for domain in domains:
        tasks, main = domain_tasks(results, trained.cell, domain), main_prompt(results)
        sides = [[Key(one.cell.cell, one.model, task, main) for one in (trained, other)] for task in tasks]
        if (one := difference(results.marks, [(a, b) for a, b in sides])) is not None:
            found[domain] = Ahead(one.mean, one.ci95, _is_sure(one))
    return found


def _is_sure(found: Estimate) -> bool:
    return is_sure(found) and (found.p_seeds is None or found.p_seeds < SIGNIFICANT)


def _overlap(results: StudyResults, a: _Trained, b: _Trained, domain: str) -> OverlapCounts | None:
    """Add up, over tasks and seeds, what two trainings of the same instructed models share; None: no data."""
    before: list[bool] = []
    of_a: list[bool] = []
    of_b: list[bool] = []
    main: PromptKind = main_prompt(results)
    for task in domain_tasks(results, a.cell, domain):
        started, other = (Key(one.cell.cell, INSTRUCTED, task, main) for one in (a, b))
        keys = [Key(one.cell.cell, one.model, task, main) for one in (a, b)]
        for seed in common_seeds(results.marks, [(started, other), (started, keys[0]), (started, keys[1])]):
            marks = [results.marks[key][seed].right for key in (started, other, *keys)]
            if marks[0] == marks[1]:
                for column, right in zip((before, of_a, of_b), (marks[0], *marks[2:]), strict=True):
                    column.extend(map(bool, right))
    return count_overlap(before, of_a, of_b) if before else None


def overlaps(results: StudyResults) -> Table:
    """Show how much of what one training changed was also changed by another: the controls, and the first cell's."""
    rows = []
    for index, cell in enumerate(results.cells):
        trained = _first_round(results, cell)
        controls = [_Trained(cell, model) for model in models_of(results, cell.cell) if model.kind == "control"]
        others = [_first_round(results, results.cells[0])] if index else []
        for other in (*controls, *others):
            for domain in ("in", "out"):
                if (counts := _overlap(results, trained, other, domain)) is not None:
                    named = other.model if other.cell == cell else f"{other.model} of {other.cell.cell}"
                    rows.append((name_of(cell), Entry(f"{trained.model}, {named}"), *_shares(domain, counts)))
    heads = ("agree, %", "newly right: either", "both, %", "by chance, %", "no longer right: one, other")
    note = (
        "Problems over tasks and seeds, of two models that were trained from the same instructed ones. Newly right: "
        "instructed was not. By chance: the share of both if the two trainings had nothing to do with each other."
    )
    title = "What two trainings changed alike"
    return Table("overlaps", title, ("cell", "models", "tasks", *heads), rows, note)


def _shares(domain: str, counts: OverlapCounts) -> list[Entry]:
    either = counts.newly_a + counts.newly_b - counts.newly_both
    both = in_common(counts.newly_a, counts.newly_b, counts.newly_both)
    chance = by_chance(counts.wrong_before, counts.newly_a, counts.newly_b)
    lost = f"{counts.lost_a:,}, {counts.lost_b:,}"
    agree = f"{100 * counts.agree / counts.n:.0f}"
    return [Entry(text) for text in (DOMAINS[domain], agree, f"{either:,}", _percent(both), _percent(chance), lost)]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def anatomy(results: StudyResults) -> Table:
    """Show what each cell's samples and pairs left to learn, in its first round."""
    rows = []
    for cell in results.cells:
        found = _anatomy_of(cell)
        if found is not None and found.pairs:
            rows.append((name_of(cell), *map(Entry, (*_of_samples(found.samples), *_of_pairs(found.pairs[0])))))
    of_samples = ("problems with right and wrong samples, %", "likeliest wrong, another right, %")
    heads = ("chosen likelier already, %", "log p chosen", "log p rejected", "rejects the likeliest, %")
    shared = ("tokens of chosen that rejected has, %", "of rejected after the first difference, %")
    note = (
        "The first round, before training, over all tasks and seeds. The likeliest of a problem's samples stands for "
        "its greedy answer. Log p in nats, of pairs of two samples."
    )
    columns = ("cell", *of_samples, "pairs", *heads, *shared, "same but for numbers, %", "first difference")
    return Table("anatomy", "What the pairs had to teach", columns, rows, note)


def _of_samples(samples: Sequence[SampleCounts]) -> list[str]:
    n = sum(one.problems for one in samples)
    return [_percent(sum(counts) / n if n else None) for counts in
            ([one.mixed for one in samples], [one.can_flip for one in samples])]  # fmt: skip


def _of_pairs(pairs: PairCounts) -> Iterator[str]:
    yield f"{pairs.pairs:,}"
    yield _percent(pairs.chosen_likelier / pairs.scored if pairs.scored else None)
    for logp in (pairs.chosen_logp, pairs.rejected_logp):
        yield number(logp, 1)
    yield _percent(pairs.rejected_likeliest / pairs.pairs)
    yield from map(_percent, (pairs.shared, pairs.shared_after, pairs.same_but_numbers / pairs.pairs))
    n = max(pairs.differences.values())
    most = min(kind for kind, count in pairs.differences.items() if count == n)
    yield f"{most} ({_percent(n / pairs.pairs)} %)"
