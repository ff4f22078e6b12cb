"""MLflow: a server (MLFLOW_TRACKING_URI), or a store on this machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from srit.trackers import PROJECT, Point, TrackedRun, TrackerKind

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS, PARAMS = 1000, 100  # that MLflow accepts at once
LONGEST = 6000  # characters of a parameter

Thing = TypeVar("Thing")


class Mlflow:
    """A run of an experiment."""

    def __init__(self, client: MlflowClient, id: str, where: str) -> None:
        self.id, self.where, self._client = id, where, client

    def log(self, points: Sequence[Point]) -> None:
        """As in `Tracker`."""
        self._put(
            (f"{curve}/{name}", value, step) for curve, step, metrics in points for name, value in metrics.items()
        )

    def conclude(self, results: Mapping[str, float]) -> None:
        """As in `Tracker`."""
        self._put((name, value, 0) for name, value in results.items())

    def end(self, *, finished: bool) -> None:
        """As in `Tracker`."""
        self._client.set_terminated(self.id, "FINISHED" if finished else "KILLED")

    def _put(self, values: Iterator[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        for some in _at_most(METRICS, (Metric(name, value, now, step) for name, value, step in values)):
            self._client.log_batch(self.id, metrics=some)


def _begin(run: TrackedRun, id: str | None) -> Mlflow:
    # For a server that does not answer: by default MLflow tries 7 times, with doubling pauses, for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient

    for talks in ("mlflow", "alembic", "urllib3"):  # about each table that it makes, and each attempt
        logging.getLogger(talks).setLevel(logging.ERROR)

    client = MlflowClient()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if found is None else found.experiment_id
    if id is None or not _is_there(client, id):
        id = client.create_run(experiment, run_name=run.name).info.run_id
        _put_settings(client, id, run.settings)
    else:
        client.update_run(id, "RUNNING")
    return Mlflow(client, id, f"experiment {name}, run {id}")


def _is_there(client: MlflowClient, id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _put_settings(client: MlflowClient, id: str, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    for some in _at_most(PARAMS, (Param(name, str(value)[:LONGEST]) for name, value in settings.items())):
        client.log_batch(id, params=some)


def _at_most(n: int, things: Iterator[Thing]) -> Iterator[list[Thing]]:
    while some := list(islice(things, n)):
        yield some


TRACKER = TrackerKind("mlflow", "mlflow>=3", "mlflow: a server, or a store of this machine", _begin)
