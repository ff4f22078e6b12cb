"""Pool the comparisons of one recipe's runs over seeds: python studies/pool.py studies/quickstart/*.json

Prints a Markdown table: for each pair of models, task and prompt the mean difference over the problems of all seeds,
with its paired 95 % interval, McNemar's exact p, and each seed's own difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

from srit.intervals import compare
from srit.stages.results import read_results


def main(paths: list[str]) -> None:
    runs = [read_results(Path(path)).comparisons for path in sorted(paths)]
    print(f"{len(runs)} runs: {', '.join(Path(path).stem for path in sorted(paths))}\n")
    print("| a | b | task | prompt | n | difference, points (95 % interval) | p | each seed |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for key in dict.fromkeys((c.a, c.b, c.task, c.prompt) for c in runs[0]):
        # A run may lack a model: not every seed has its controls.
        rows = [c for run in runs for c in run if (c.a, c.b, c.task, c.prompt) == key]
        n = sum(row.n for row in rows)
        only_a, only_b = sum(row.only_a for row in rows), sum(row.only_b for row in rows)
        same = n - only_a - only_b
        pooled = compare(
            [True] * only_a + [False] * only_b + [True] * same, [False] * only_a + [True] * only_b + [True] * same
        )
        low, high = (100 * end for end in pooled.ci95)
        seeds = ", ".join(f"{100 * row.delta:+.1f}" for row in rows)
        change = f"{100 * pooled.delta:+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"| {' | '.join(map(str, key))} | {n} | {change} | {pooled.p:.4f} | {seeds} |")


if __name__ == "__main__":
    main(sys.argv[1:])
