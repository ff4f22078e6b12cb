from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict
from ranks import gradient, sharded, together, training
from tiny import EXAMPLES

from srit.errors import RecipeError
from srit.recipe import Optimization, Student
from srit.students.loading import trainable
from srit.students.sources import TrainableSource
from srit.training.distributed.choice import check_shards
from srit.training.distributed.started import StartedTrainers
from srit.training.distributed.trainers import AloneTrainer, Task
from srit.training.distributed.world import ALONE
from srit.training.instruction import instruct


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Runs a function in each of two processes, and returns what both return."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def run(function, *arguments, **options):
            meeting = str(tmp_path_factory.mktemp("meeting") / "store")
            both = [pool.submit(together, rank, 2, meeting, function, *arguments, **options) for rank in range(2)]
            return [one.result() for one in both]

        yield run


@pytest.mark.parametrize(("stage", "dtype"), [("instruct", torch.float32), ("refine", torch.bfloat16)])
def test_two_processes_train_the_same_bytes_as_one(tmp_path, ranks, stage, dtype):
    alone = training(ALONE, stage, dtype, tmp_path / "alone")

    first, second = ranks(training, stage, dtype, str(tmp_path / "together"))

    assert first == second == alone
    names = [[path.name for path in sorted((tmp_path / folder).glob("*.pt"))] for folder in ("alone", "together")]
    assert names[0] == names[1]  # a checkpoint's name has its sum


@pytest.mark.parametrize("resumed_by", ["one", "two"])
def test_a_training_goes_on_with_another_number_of_processes(tmp_path, ranks, resumed_by):
    arguments = ("refine", torch.bfloat16, str(tmp_path / "stopped"))
    whole = training(ALONE, "refine", torch.bfloat16, tmp_path / "whole")

    if resumed_by == "one":
        assert ranks(training, *arguments, 1) == [None, None]
        assert training(ALONE, *arguments) == whole
    else:
        assert training(ALONE, *arguments, 2) is None
        assert ranks(training, *arguments) == [whole, whole]


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(("stage", "dtype"), [("instruct", torch.float32), ("refine", torch.bfloat16)])
def test_two_processes_that_share_out_the_weights_train_the_same_bytes_as_one(tmp_path, ranks, stage, dtype, lora):
    alone = training(ALONE, stage, dtype, tmp_path / "alone", lora=lora)

    first, second = ranks(sharded, stage, dtype, str(tmp_path / "together"), lora=lora)

    assert first == alone
    assert second == (None, alone[1])
    names = [[path.name for path in sorted((tmp_path / folder).glob("*.pt"))] for folder in ("alone", "together")]
    assert names[0] == names[1]  # a checkpoint's name has its sum


@pytest.mark.parametrize("begun_by", [training, sharded])
def test_a_training_goes_on_with_shared_out_weights_and_without(tmp_path, ranks, begun_by):
    arguments = ("refine", torch.bfloat16, str(tmp_path / "stopped"))
    whole = training(ALONE, "refine", torch.bfloat16, tmp_path / "whole")

    if begun_by is training:
        assert training(ALONE, *arguments, 1) is None
        assert ranks(sharded, *arguments)[0] == whole
    else:
        assert ranks(sharded, *arguments, 1) == [None, None]
        assert training(ALONE, *arguments) == whole


def test_weights_are_not_shared_out_by_one_process_nor_of_4_bits():
    for size in (None, 1):
        with pytest.raises(RecipeError, match="add --train-workers 2"):
            check_shards(size, "lora")
    with pytest.raises(RecipeError, match="4-bit weights"):
        check_shards(2, "qlora")


def test_the_gradient_of_two_processes_is_that_of_one_large_batch(ranks):
    n_large, loss, large = gradient(ALONE, 10_000)

    for n_batches, shared_loss, shared in ranks(gradient, 60):
        assert n_batches > n_large == 1
        assert shared_loss == pytest.approx(loss, rel=1e-12)
        for name, wanted in large.items():
            np.testing.assert_allclose(shared[name], wanted, rtol=1e-9, atol=1e-12)


def test_processes_that_are_started_for_a_training_make_the_same_adapter(tmp_path, tiny_student):
    student = Student(model=str(tiny_student), dtype="bfloat16")
    source = TrainableSource(student, None, "all-linear", "sdpa")
    seen = []

    def start():
        torch.manual_seed(0)
        return trainable(student, None)

    def train(trainers, folder):
        settings = Optimization(epochs=1, batch_size=5)
        work = partial(instruct, examples=EXAMPLES, settings=settings, seed="0", checkpoints=tmp_path / folder)
        model, history = trainers.train(
            start, Task(source, work), lambda done, total, metrics: seen.append((done, total))
        )
        return get_peft_model_state_dict(model), history

    weights, history = train(AloneTrainer(), "alone")
    shared_weights, shared_history = train(StartedTrainers(2, seen.append), "together")

    assert seen == [(1, 2), (2, 2)] * 2
    assert shared_history == history
    assert all(torch.equal(weight, shared_weights[name]) for name, weight in weights.items())
