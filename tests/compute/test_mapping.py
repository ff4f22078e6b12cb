"""Chunks are computed once, wherever, in any order; one process keeps them."""

import pickle
from dataclasses import dataclass

import pytest
from tiny import tiny_model

from srit.compute.mapping import mapped_once
from srit.compute.rows import Group
from srit.pipeline.engines.local import LocalEngine
from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.chunks import SamplerSource, SamplingWork, chunks_of, read_answers
from srit.samplers.transformers import TransformersSettings
from srit.students.sources import FrozenSource, ScoringWork, TrainableSource, Trained, read_scores

BUILT = []


@dataclass(frozen=True)
class Prefix:
    text: str

    def build(self):
        BUILT.append(self.text)
        return self.text


@dataclass(frozen=True)
class Words:
    source: Prefix
    fails_at: str = ""

    def chunk(self, prefix, word):
        if word == self.fails_at:
            raise ValueError(word)
        return f"{prefix}{word}".encode()


class Backward:
    """An engine that yields the last chunk first, and each twice."""

    def map(self, work, items):
        built = work.source.build()
        for key in reversed(list(items)):
            for _ in range(2):
                yield key, work.chunk(built, items[key])

    def release(self):
        pass


@pytest.fixture(autouse=True)
def nothing_built():
    BUILT.clear()


@pytest.mark.parametrize("engine", [LocalEngine(), Backward()], ids=["local", "backward"])
def test_the_bytes_of_all_items_come_in_order_whatever_the_engine(engine, tmp_path):
    found = list(mapped_once(engine, Words(Prefix("a-")), {"1": "x", "2": "y", "3": "z"}, kept=tmp_path))

    assert found == [b"a-x", b"a-y", b"a-z"]


def test_a_later_run_computes_what_is_missing_and_nothing_else(tmp_path):
    items = {"1": "x", "2": "y", "3": "z"}
    with pytest.raises(ValueError, match="y"):
        mapped_once(LocalEngine(), Words(Prefix("a-"), fails_at="y"), items, kept=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    (tmp_path / "1").write_bytes(b"kept")
    arrived = []

    found = list(mapped_once(LocalEngine(), Words(Prefix("a-")), items, kept=tmp_path, arrived=arrived.append))

    assert found == [b"kept", b"a-y", b"a-z"] and arrived == ["1", "2", "3"]


def test_nothing_is_built_where_nothing_is_missing_and_equal_sources_are_built_once(tmp_path):
    engine = LocalEngine()
    for name in ("first", "first", "second"):
        mapped_once(engine, Words(Prefix("a-")), {name: "x"}, kept=tmp_path)
    assert BUILT == ["a-"]

    mapped_once(engine, Words(Prefix("b-")), {"third": "x"}, kept=tmp_path)
    engine.release()
    mapped_once(engine, Words(Prefix("b-")), {"fourth": "x"}, kept=tmp_path)

    assert BUILT == ["a-", "b-", "b-"]


def test_what_was_built_last_can_be_taken_and_is_then_built_anew(tmp_path):
    engine = LocalEngine()
    mapped_once(engine, Words(Prefix("a-")), {"first": "x"}, kept=tmp_path)

    assert engine.take(Prefix("a-")) == engine.take(Prefix("a-")) == "a-"
    assert BUILT == ["a-", "a-"]


def test_works_travel_as_values_and_give_the_same_bytes_there(tmp_path, tiny_student):
    student = Student(model=str(tiny_student), tuning="full", dtype="float32")
    tiny_model(seed=3).save_pretrained(tmp_path / "trained")
    trained = Trained(tmp_path / "trained", "a sum")
    settings = SamplingSettings(temperature=1.0, max_new_tokens=5, stop_ids=(258,))
    requests = [Request((1, 2, 3 + n), f"seed {n}") for n in range(6)]
    groups = [Group((1, 2, 3), ((4,), (5, 6)))]
    sampling = SamplingWork(SamplerSource(TransformersSettings(), student, trained, 4, "slots"), settings)
    for work, item in (
        (sampling, requests),
        (ScoringWork(FrozenSource(student, None), "shared", 100, 100), groups),
        (ScoringWork(TrainableSource(student, trained, "all-linear", "sdpa"), "shared", 100, 100), groups),
    ):
        there, carried = pickle.loads(pickle.dumps((work, item)))
        assert there == work and there.source == work.source

        [(_, here)], [(_, away)] = (list(LocalEngine().map(w, {0: i})) for w, i in ((work, item), (there, carried)))

        assert here == away and (read_answers if item is requests else read_scores)(here)
    assert [len(chunk) for chunk in chunks_of(requests, 4).values()] == [4, 2]
