"""Trainings on other machines: the same bytes, whoever is lost."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from threading import Thread

import pytest
import torch
from machines import actors
from peft import get_peft_model_state_dict
from tiny import EXAMPLES

from srit.errors import TrainingError
from srit.pipeline.engines.crew import Died, Failed
from srit.pipeline.engines.ray import training as there
from srit.pipeline.engines.ray.canary import Canary, CanaryWork
from srit.pipeline.engines.ray.trainers import RayTrainers, followed
from srit.pipeline.engines.travel import packed, unpacked
from srit.recipe import Optimization, Student
from srit.students.loading import trainable
from srit.students.sources import TrainableSource
from srit.training import loop
from srit.training.distributed.trainers import AloneTrainer, Task
from srit.training.instruction import instruct


@dataclass(frozen=True)
class Slowly:
    """A training whose steps take a while, so that there is a checkpoint before its end."""

    work: partial
    seconds: float

    def __call__(self, model, *, world, progress):
        def waiting(*step):
            time.sleep(self.seconds)
            progress(*step)

        return self.work(model, world=world, progress=waiting)


@pytest.fixture
def student(tiny_student):
    return Student(model=str(tiny_student), dtype="bfloat16")


def task(student, folder, seconds=0.0, **settings):
    source = TrainableSource(student, None, "all-linear", "sdpa")
    settings = Optimization(**{"epochs": 10, "batch_size": 5, **settings})
    work = partial(instruct, examples=EXAMPLES, settings=settings, seed="0", checkpoints=folder)
    return Task(source, Slowly(work, seconds))


def trained(trainers, student, folder, seconds=0.0):
    seen = []

    def start():
        torch.manual_seed(0)
        return trainable(student, None)

    model, history = trainers.train(start, task(student, folder, seconds), lambda *step: seen.append(step[:2]))
    assert seen[-1] == (20, 20)
    return {name: weight.clone() for name, weight in get_peft_model_state_dict(model).items()}, history


def same(one, other):
    return one[1] == other[1] and all(torch.equal(weight, other[0][name]) for name, weight in one[0].items())


def begun(task, values, folder):
    """The events of a training where none of its paths are, and what these are called there."""
    paths = {}
    data, folders = packed(task, paths)
    for name, parts in there.sent_along(values, paths):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"".join(parts))
    return there.training(unpacked(data, folders.__getitem__, folder), folder), paths


def until_a_checkpoint(events):
    for event in events:
        yield event
        if isinstance(event, there.Whole) and event.name.endswith(".pt"):
            break
    yield Died("lost")


def test_a_training_that_is_lost_goes_on_elsewhere_from_what_came_back(student, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVING_SHARE", 1e9)
    monkeypatch.setattr(there, "LOOK_SECONDS", 0.01)
    alone = trained(AloneTrainer(), student, tmp_path / "alone")
    torch.manual_seed(0)
    model = trainable(student, None)
    values, steps = there.values_of(model), []

    for machine, seconds in (("first", 0.02), ("second", 0.0)):
        events, places = begun(task(student, tmp_path / "kept", seconds), values, tmp_path / machine)
        lost = machine == "first"
        ended = followed(until_a_checkpoint(events) if lost else events, places, lambda *step: steps.append(step[0]))
        assert isinstance(ended.how, Died if lost else there.Trained) and ended.kept
        if lost:
            assert len(list((tmp_path / "kept").glob("*.pt"))) in (1, 2, 3)
            steps.clear()

    there.put_values(model, ended.end)
    assert same(alone, (get_peft_model_state_dict(model), ended.how.history))
    assert steps and min(steps) > 1  # it did not begin again
    assert len(list((tmp_path / "kept").glob("*.pt"))) <= 3  # one more than there, if an old one went meanwhile


def test_a_training_that_diverges_there_raises_what_it_would_have_raised_here(student, tmp_path):
    values = there.values_of(trainable(student, None))
    events, places = begun(task(student, tmp_path / "kept", learning_rate=1e30), values, tmp_path / "there")

    ended = followed(events, places, lambda *step: None)

    assert isinstance(ended.how, Failed) and isinstance(ended.how.error, TrainingError)
    assert "lower learning_rate" in str(ended.how.error)


def kill_at_a_checkpoint(folder, killed):
    while not list(folder.glob("*.pt")):
        time.sleep(0.01)
    killed.extend(actors())
    os.kill(killed[0], signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_training_is_replaced_by_one_that_goes_on(cluster, student, tmp_path, capsys):
    from srit.pipeline.engines.ray.crew import Actors

    alone, killed = trained(AloneTrainer(), student, tmp_path / "alone"), []
    crew = Actors(1, 1, 0, print, mixed=False, canary=Canary(CanaryWork(student), tmp_path / "canary.json"))
    Thread(target=kill_at_a_checkpoint, args=(tmp_path / "over-ray", killed), daemon=True).start()

    found = trained(RayTrainers(crew, print), student, tmp_path / "over-ray", 0.3)

    assert len(killed) == 1 and "another worker continues the training" in capsys.readouterr().out
    assert same(alone, found)
