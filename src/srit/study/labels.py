"""Labels of a study's cells: their names, and the cells that a claim names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from srit.records import Model
from srit.study.records import Claim

ARM = "arm"  # the label of a named cell
LABEL = "label."  # begins an override that sets a label instead of a field
TEACHER_LABEL = "teacher"  # the teacher of a cell, in the paper's table
STUDENT_FAMILY, TEACHER_FAMILY, FAMILY = "student_family", "teacher_family", "family"

Labels = Mapping[str, str]


def with_family(labels: Labels) -> dict[str, str]:
    """Add whether student and teacher belong to one family, if both families are given."""
    if STUDENT_FAMILY not in labels or TEACHER_FAMILY not in labels:
        return dict(labels)
    return {**labels, FAMILY: "in" if labels[STUDENT_FAMILY] == labels[TEACHER_FAMILY] else "out"}


def has_labels(labels: Labels, wanted: Labels) -> bool:
    """Return whether a cell has all of the wanted labels."""
    return all(labels.get(label) == value for label, value in wanted.items())


def set_against(labels: Labels, other: Labels, claim: Claim) -> bool:
    """Return whether a claim with `against` compares a cell of its `where` with another cell, by their labels."""
    same = claim.same if claim.same is not None else [label for label in labels if label not in claim.against]
    return has_labels(other, claim.against) and all(other.get(label) == labels.get(label) for label in same)


class _Name(NamedTuple):
    """A name in a claim, and the known names."""

    at: tuple[str, ...]
    name: str
    what: str
    known: Collection[str]


def claim_faults(
    claim: Claim, cells: Sequence[Labels], evaluated: Collection[Model]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the places in a claim where a name is unknown, or its two sides never meet, and what is wrong.

    Args:
        cells: the labels of each.
        evaluated: the models that there are.
    """
    wrong = [one for one in _names(claim, cells, evaluated) if one.name not in one.known]
    for one in wrong:
        yield one.at, _unknown(one)
    if claim.same is not None and not claim.against:
        yield ("same",), "same lists the labels that both sides share: name the other side's labels in against"
    elif claim.against and not wrong:
        sides = [labels for labels in cells if has_labels(labels, claim.where)]
        if not any(set_against(labels, other, claim) for labels in sides for other in cells):
            yield (
                ("against",),
                "no two cells have these labels and share all others: list in same those they share",
            )


def _names(claim: Claim, cells: Sequence[Labels], evaluated: Collection[Model]) -> Iterator[_Name]:
    models = [str(model) for model in evaluated]
    yield _Name(("a",), str(claim.a), "model", models)
    yield _Name(("b",), str(claim.b), "model", models)
    known = {label: sorted({labels.get(label, "") for labels in cells}) for labels in cells for label in labels}
    for part, wanted in (("where", claim.where), ("against", claim.against)):
        for label, value in wanted.items():
            yield _Name((part, label), label, "label", known)
            yield _Name((part, label), value, label, known.get(label, [value]))
    for label in claim.same or ():
        yield _Name(("same",), label, "label", known)


def _unknown(one: _Name) -> str:
    near = difflib.get_close_matches(one.name, list(one.known), n=1)
    hint = f"; did you mean {near[0]}?" if near else f", only {', '.join(sorted(one.known))}"
    return f"no cell has the {one.what} {one.name!r}{hint}"
