"""What an earlier run left of a stage, from which the next one continues."""

from __future__ import annotations

from pathlib import Path

from srit.training import CHECKPOINTS


def left_over(partial: Path) -> str:
    """Say in one line what exists of an unfinished stage; "" if there is nothing.

    Args:
        partial: the folder of its unfinished work.
    """
    checkpoints = sorted(path.name[:8] for path in partial.glob(CHECKPOINTS))
    chunks = sum(1 for path in partial.rglob("*.json") if path.name not in _NOT_WORK)
    parts = [f"the checkpoint after step {int(checkpoints[-1])}"] if checkpoints else []
    parts += [f"{chunks} finished part{'s' if chunks > 1 else ''}"] if chunks else []
    return " and ".join(parts)


_NOT_WORK = ("environment.json",)
