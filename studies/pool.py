"""Pools the comparisons of one recipe's runs over seeds: python studies/pool.py studies/quickstart/*.json

Prints a Markdown table: for each pair of models, domain and prompt the mean difference over all seeds'
problems with its paired 95 % interval, McNemar's exact p, and each seed's own difference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from srit.intervals import compare


def main(paths: list[str]) -> None:
    runs = [json.loads(Path(path).read_bytes())["comparisons"] for path in sorted(paths)]
    print(f"{len(runs)} runs: {', '.join(Path(path).stem for path in sorted(paths))}\n")
    print("| a | b | task | prompt | n | difference, points (95 % interval) | p | each seed |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for key in dict.fromkeys((c["a"], c["b"], c["task"], c["prompt"]) for c in runs[0]):
        # A run may lack a model: not every seed has its controls.
        rows = [c for run in runs for c in run if (c["a"], c["b"], c["task"], c["prompt"]) == key]
        n = sum(round(row["n"]) for row in rows)
        only_a, only_b = (sum(row[side] for row in rows) for side in ("only_a", "only_b"))
        same = n - only_a - only_b
        pooled = compare(
            [True] * only_a + [False] * only_b + [True] * same, [False] * only_a + [True] * only_b + [True] * same
        )
        low, high = (100 * end for end in pooled.ci95)
        seeds = ", ".join(f"{100 * row['delta']:+.1f}" for row in rows)
        change = f"{100 * pooled.delta:+.1f} ({low:+.1f} to {high:+.1f})"
        print(f"| {' | '.join(key)} | {n} | {change} | {pooled.p:.4f} | {seeds} |")


if __name__ == "__main__":
    main(sys.argv[1:])
