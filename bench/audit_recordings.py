"""Read every recorded teacher's answers: `python bench/audit_recordings.py [DATA] > table.md`.

DATA is ../shared/data by default. One Markdown row per file; accuracies in percent.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from srit.cli.audit import judged_rows
from srit.tasks import benchmarks


def table(data: Path) -> None:
    print("| teacher | task | n | read % | ours % | published % | differ (right / wrong / unread here) | errors |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path in sorted((data / "teachers").glob("*/*.jsonl.gz")):
        print_row(data, path)


def benchmark_of(recording: Path) -> str:
    """Return the name of the benchmark whose answers a recording has."""
    return recording.name.removesuffix(".jsonl.gz").removesuffix("_validation").removesuffix("_test")


def print_row(data: Path, path: Path) -> None:
    name = benchmark_of(path)
    n: Counter[str] = Counter()
    for row, judgment in judged_rows(benchmarks.make(name), path, data=data / "benchmarks"):
        n["all"] += 1
        n["read"] += judgment.answer is not None
        n[judgment.verdict] += 1
        n["published"] += row.fields["is_correct"]
        if row.fields["is_correct"] != (judgment.verdict == "right"):
            n[f"{judgment.verdict} against"] += 1
    against = [n[f"{verdict} against"] for verdict in ("right", "wrong", "unread")]
    share = [f"{100 * n[key] / n['all']:.1f}" for key in ("read", "right", "published")]
    cells = [path.parent.name, name, n["all"], *share, f"{sum(against)} ({' / '.join(map(str, against))})", n["error"]]
    print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    table(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
