"""Estimate the mean of refined − instructed over some of a study's cells and tasks, which no claim names together.

python studies/means.py STUDY PROMPT CELL=TASK...

Prints the mean in points, each pair counting alike, with its 95 % interval and each seed's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from srit.records import Model, PromptKind
from srit.signed import change_points, points
from srit.study.estimates import Key, common_seeds, difference, read_study_results


def main(study: str, asked: str, *places: str) -> None:
    prompt = next((kind for kind in get_args(PromptKind) if kind == asked), None)
    if prompt is None:
        sys.exit(f"{asked}: not one of {', '.join(get_args(PromptKind))}")
    results = read_study_results(Path(study) / "study.json")
    pairs = []
    for place in places:
        cell, _, task = place.rpartition("=")  # a cell's name may hold another =
        pair = Key(cell, Model("refined"), task, prompt), Key(cell, Model("instructed"), task, prompt)
        if not common_seeds(results.marks, [pair]):
            sys.exit(f"{place}: no answers of both models there: name cells and tasks as the study's tables do")
        pairs.append(pair)
    mean = difference(results.marks, pairs)
    if mean is None:
        sys.exit(__doc__)
    print(f"{change_points(mean.mean, mean.ci95)}; by seed {', '.join(map(points, mean.by_seed))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
