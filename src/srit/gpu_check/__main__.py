"""python -m srit.gpu_check [--parts NAME …] [--seconds 460] [--out RESULT.json]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from srit.gpu_check.running import PARTS, check, part_lines


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and write what they found; 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m srit.gpu_check", description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=460.0, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("bench/gpu/RESULT.json"))
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, as without a GPU")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # computed in this very process
    options = parser.parse_args(arguments)
    if options.part:
        for line in part_lines(options.part, tiny=options.tiny):
            print(line, flush=True)
        return 0
    found = check(options.parts, seconds=options.seconds, out=options.out, tiny=options.tiny)
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
