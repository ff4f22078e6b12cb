"""Write the table of docs/performance.md from bench/results.json, between its two marks: python bench/page.py"""

from __future__ import annotations

import json
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
RESULTS = Path(__file__).with_name("results.json")
MARKS = ("<!-- from bench/results.json -->", "<!-- end -->")
# What is measured, and the target ratio: a minimum, or a maximum for memory.
ENTRIES = {
    "sampling": ("8 answers (4 direct, 4 CoT) to each of 32 problems", "≥ 3"),
    "windows": ("the same for a model with attention windows of 48 tokens", "≥ 3"),
    "evaluation": ("greedy answers of uneven length to 200 problems", "≥ 1.8"),
    "dpo_4_pairs": ("DPO step, 4 pairs per problem from 4 answers, 8 problems", "≥ 3"),
    "dpo_1_pair": ("DPO step, 1 pair per problem, 24 problems", "≥ 1.4"),
    "sft": ("SFT step, 48 demonstrations of uneven length", "≥ 1.3"),
    "memory": ("peak memory of a DPO step", "≤ 0.7"),
    "flops": ("operations per second of a DPO step, of those of a large matrix product", "≥ 0.5"),
    "studied": ("the whole recipe `studied`, including set-up", "≥ 3"),
}


def table() -> str:
    found = json.loads(RESULTS.read_text())
    lines = ["| what | srit | theirs | ratio (least to greatest) | target | against | agreement |", "|" + " --- |" * 7]
    for name, (what, aim) in ENTRIES.items():
        if name in found:
            row = found[name]
            low, high = row["spread"]
            sides = [f"{row[side]:,} {row['unit']}" for side in ("ours", "theirs")]
            ratio = f"**{row['ratio']}** ({low} to {high})"
            lines.append("| " + " | ".join([what, *sides, ratio, aim, row["against"], row["agreement"]]) + " |")
    machines = sorted({row["machine"] for row in found.values()})
    return "\n".join([*lines, "", f"Machine: {'; '.join(machines)}."])


def main() -> None:
    text = PAGE.read_text()
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
