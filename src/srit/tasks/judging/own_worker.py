"""Judges answers by a function of the user's own, in processes of its own: questions on stdin, verdicts on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from srit.shortages import limit_memory
from srit.tasks.judging.forked import serve as serve_forked

MEMORY_BYTES = 8 * 2**30  # a judge may import much
LONGEST = 300  # characters of an error

Judge = Callable[[str, str], object]


def serve(path: str, function: str, seconds: float) -> None:
    """Answer questions on stdin until it ends, each within so many seconds of processor time."""
    limit_memory(MEMORY_BYTES)
    with redirect_stdout(sys.stderr):  # stdout has the verdicts
        judge, failed = _loaded(path, function)

    def answer(line: bytes) -> dict[str, Any]:
        question = json.loads(line)
        if judge is None:
            return {"error": failed}
        with redirect_stdout(sys.stderr):
            return _verdict(judge, question["answer"], question["gold"], f"{Path(path).name}:{function}")

    serve_forked(answer, seconds)


def _loaded(path: str, function: str) -> tuple[Judge | None, str]:
    """Return the function, or None and why there is none."""
    sys.path.insert(0, str(Path(path).parent))
    try:
        spec = spec_from_file_location("own_judge", path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        judge: Judge = getattr(module, function)
    except (Exception, SystemExit) as error:
        return None, f"{path} cannot be imported: {_said(error)}"
    return judge, ""


def _verdict(judge: Judge, text: str, gold: str, name: str) -> dict[str, Any]:
    try:
        said = judge(text, gold)
    except MemoryError:
        return {"error": f"{name}: out of memory"}
    except (Exception, SystemExit) as error:
        return {"error": f"{name} failed: {_said(error)}"}
    if str(said) not in ("True", "False"):  # those of numpy, too
        return {"error": f"{name} returned {said!r:.80}, neither True nor False"}
    return {"equal": str(said) == "True"}


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST]
