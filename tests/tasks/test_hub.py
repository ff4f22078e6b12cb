"""Benchmarks through `datasets` itself: a folder of its own format stands in for the hub."""

from dataclasses import replace

import pytest
from datasets import Dataset

from srit.errors import DataError
from srit.tasks.benchmarks import BenchmarkTask
from srit.tasks.hub import BENCHMARKS, Hub

ROWS = [
    {"question": f"What is {n} + 1?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(9)
]


@pytest.fixture
def gsm8k(tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    here = {"train": Hub(str(tmp_path / "hub"), "train")}
    return BenchmarkTask(replace(BENCHMARKS["gsm8k"], hub=here))


def test_a_split_of_the_hub_is_read_in_its_order_and_drawn_by_seed(gsm8k):
    whole = list(gsm8k.load("train", data=None, limit=None, seed=0))
    some, again, others = (list(gsm8k.load("train", data=None, limit=3, seed=seed)) for seed in (1, 1, 2))

    assert [(p.question, p.answer) for p in whole] == [(f"What is {n} + 1?", str(n + 1)) for n in range(9)]
    assert whole[3].rationale == "3 + 1 = 4"
    assert some == again and some != others and set(some) < set(whole)


def test_a_split_that_is_not_there_is_named(gsm8k):
    with pytest.raises(DataError, match="gsm8k has no test split on the hub; it has: train"):
        list(gsm8k.load("test", data=None, limit=None, seed=0))


def test_a_hub_out_of_reach_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    task = BenchmarkTask(BENCHMARKS["gsm8k"])

    with pytest.raises(DataError, match=r"gsm8k/main/train: cannot be loaded from the hub .* give a data folder"):
        list(task.load("train", data=None, limit=None, seed=0))
