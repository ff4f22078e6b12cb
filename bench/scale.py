"""Measure how each stage of a run grows with its problems: python bench/scale.py [--written] [N …]

Each stage runs in a process of its own (tests/scale): a recording is the teacher, and a made-up engine draws four
answers to each problem, so that no model takes part. Prints seconds, those of the processor, and the peak of its memory
beside what its imports take; writes bench/scale.json. With --written, the files of sampling and evaluation are written
directly and only the stages that follow them are measured: an hour for a million problems in place of three.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from srit.run_directory import write_json

RESULTS = Path(__file__).with_name("scale.json")
TESTS = Path(__file__).parents[1] / "tests"


def main(sizes: list[int], *, written: bool) -> None:
    sys.path[:0] = [str(TESTS / "scale"), str(TESTS)]
    from growth import grown, grown_from_written

    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for n in sizes:
        with TemporaryDirectory(prefix="srit-scale-") as place:
            for took in (grown_from_written if written else grown)(Path(place), n):
                found.setdefault(str(n), {})[took["step"]] = took
                figures = f"{took['seconds']:8.1f} s {took['cpu']:8.1f} s {took['megabytes']:5} MB"
                print(f"{n:>9,} {took['step']:25} {figures}", flush=True)
    write_json(RESULTS, found)


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[1:] if size != "--written"]
    main(sizes or [25_000, 100_000, 1_000_000], written="--written" in sys.argv)
