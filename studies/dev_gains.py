"""What refinement gained in each run of a study: on dev problems of the tasks trained on, and on the tasks evaluated.

    python studies/dev_gains.py OUT   # the folder that srit study made, with its runs

Dev problems are those of round 1's acceptance. Prints a table in Markdown.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from srit import load_results
from srit.run_directory import read_manifest


def row(run: Path) -> str:
    counts = read_manifest(run).stages["round-1/accepted"].counts
    correct: Counter[str] = Counter()
    n: Counter[str] = Counter()
    for score in load_results(run).rows:
        correct[str(score.model)] += score.correct
        n[str(score.model)] += score.n
    before, after = (100 * correct[name] / n[name] for name in ("instructed", "refined"))
    gains = f"{100 * counts['before']:.1f} → {100 * counts['after']:.1f} | {before:.1f} → {after:.1f}"
    return f"| {run.parent.name} | {run.name} | {gains} | {100 * counts['delta']:+.1f} | {after - before:+.1f} |"


if __name__ == "__main__":
    print("| cell | seed | dev problems | tasks evaluated | gain on dev | gain on tasks |")
    print("| --- | --- | --- | --- | ---: | ---: |")
    for results in sorted(Path(sys.argv[1]).glob("runs/*/*/results.json")):
        print(row(results.parent))
