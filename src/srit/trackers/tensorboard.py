"""TensorBoard: event files in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from srit.trackers import Point, Setting, TrackedRun, TrackerKind

FOLDER = "tensorboard"  # in the run directory; the numbered folders in it are runs for TensorBoard


class TensorBoard:
    """Event files in one folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Setting]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.id, self.where, self._settings = folder.name, f"tensorboard --logdir {folder.parent}", settings
        is_new = not folder.exists()
        self._writer = SummaryWriter(folder)
        if is_new:
            rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
            self._writer.add_text("recipe", f"| field | value |\n| --- | --- |\n{rows}")

    def log(self, points: Sequence[Point]) -> None:
        """As in `Tracker`."""
        for curve, step, metrics in points:
            for name, value in metrics.items():
                self._writer.add_scalar(f"{curve}/{name}", value, step)
        self._writer.flush()

    def conclude(self, results: Mapping[str, float]) -> None:
        """As in `Tracker`; the settings appear beside the results on TensorBoard's hyperparameter page."""
        self._writer.add_hparams(dict(self._settings), dict(results), run_name=".")
        self._writer.flush()

    def end(self, *, finished: bool) -> None:
        """As in `Tracker`."""
        self._writer.close()


def _begin(run: TrackedRun, id: str | None) -> TensorBoard:
    folder = run.folder / FOLDER
    if id is None or not (folder / id).exists():
        earlier = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
        id = str(max(earlier, default=0) + 1)
    return TensorBoard(folder / id, run.settings)


TRACKER = TrackerKind("tensorboard", "tensorboard>=2.20", "tensorboard: event files in the run directory", _begin)
