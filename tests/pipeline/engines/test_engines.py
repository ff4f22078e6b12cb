"""What every engine promises, of whatever kind: its chunks' bytes, in any order, whoever dies."""

import pytest
from nasty import Nasty, die_in_this_process
from works import Prefix, Words, begun, n_built

from srit.compute.mapping import mapped_once
from srit.errors import DataError, MachineError
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.engines.processes import Processes
from srit.pipeline.engines.sharing import SharingEngine

WORDS = ("a", "b", "c", "d", "e", "f")

DIED = r"(SIGKILL|process has died)"


def local():
    return LocalEngine()


def nasty():
    return SharingEngine(Nasty(3), print)


def processes():
    return SharingEngine(Processes(2, threads=1), print)


def over_ray(cluster):
    return cluster.engine(2)


OVER_RAY = pytest.param(over_ray, marks=pytest.mark.slow)


def made(request):
    return over_ray(request.getfixturevalue("cluster")) if request.param is over_ray else request.param()


def name(make):
    return make.__name__


@pytest.fixture(params=[local, nasty, processes, OVER_RAY], ids=name)
def engine(request):
    engine = made(request)
    yield engine
    engine.release()


@pytest.fixture(params=[nasty, processes, OVER_RAY], ids=name)
def mortal(request, monkeypatch):
    """An engine whose workers may die."""
    if request.param is nasty:
        die_in_this_process(monkeypatch)
    engine = made(request)
    yield engine
    engine.release()


def computed(engine, work, words, kept):
    return list(mapped_once(engine, work, {word: word for word in words}, kept=kept))


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "kept"


def names(kept):
    return {path.name for path in kept.iterdir()} if kept.exists() else set()


def test_all_chunks_come_once_and_in_order(engine, kept, tmp_path):
    arrived = []

    found = list(
        mapped_once(engine, Words(Prefix("x-", tmp_path)), {w: w for w in WORDS}, kept=kept, arrived=arrived.append)
    )

    assert found == [f"x-{word}".encode() for word in WORDS]
    assert sorted(arrived) == sorted(WORDS)


def test_nothing_is_built_for_nothing_and_little_for_the_next_work(engine, kept, tmp_path):
    work = Words(Prefix("x-", tmp_path))
    assert list(engine.map(work, {})) == [] and n_built(tmp_path) == 0

    computed(engine, work, WORDS, kept)
    first = n_built(tmp_path)
    computed(engine, work, ("g", "h"), kept)

    assert n_built(tmp_path) <= max(first, engine.size) <= engine.size
    engine.release()
    computed(engine, work, ("i",), kept)
    assert n_built(tmp_path) > first


def test_another_source_is_built_anew(engine, kept, tmp_path):
    computed(engine, Words(Prefix("x-", tmp_path)), WORDS[:2], kept)

    assert computed(engine, Words(Prefix("y-", tmp_path)), ("z",), kept) == [b"y-z"]


def test_an_error_of_the_user_comes_back_as_it_is_once_good_chunks_are_kept(engine, kept, tmp_path):
    with pytest.raises(DataError, match=r"^wrong: correct it$"):
        computed(engine, Words(Prefix("x-", tmp_path)), ("a", "wrong", *WORDS[1:]), kept)

    good = names(kept)
    assert "a" in good and "wrong" not in good
    # What was begun is finished, and no more than one chunk for each worker was begun after the error.
    assert good == {word for word, _ in begun(tmp_path)} - {"wrong"}
    assert computed(engine, Words(Prefix("x-", tmp_path)), WORDS, kept)[-1] == b"x-f"


def test_an_internal_error_keeps_its_traceback(engine, kept, tmp_path):
    with pytest.raises(Exception, match="bug") as caught:
        computed(engine, Words(Prefix("x-", tmp_path)), ("a", "bug"), kept)

    shown = "".join([*getattr(caught.value, "__notes__", ()), str(caught.getrepr())])
    assert "raise KeyError(word)" in shown


def test_the_chunk_of_a_worker_that_dies_is_computed_by_another(mortal, kept, tmp_path):
    found = computed(mortal, Words(Prefix("x-", tmp_path)), ("die once", *WORDS), kept)

    assert found == [b"x-die once", *(f"x-{word}".encode() for word in WORDS)]


def test_a_chunk_that_ends_three_workers_is_named_and_all_others_are_kept(mortal, kept, tmp_path, capsys):
    with pytest.raises(MachineError, match=rf"/die ended 3 workers: .*{DIED}.*rerun"):
        computed(mortal, Words(Prefix("x-", tmp_path)), ("die", *WORDS), kept)

    assert 3 <= [word for word, _ in begun(tmp_path)].count("die") <= 4  # one of Ray's machines is tried with it
    assert names(kept) == set(WORDS)
    assert capsys.readouterr().out.count("die is computed again") == 3


def test_where_every_chunk_ends_its_worker_not_all_are_tried(mortal, kept, tmp_path):
    with pytest.raises(MachineError, match=rf"(3|6) workers in a row died (before|while computing chunks).*{DIED}"):
        computed(mortal, Words(Prefix("x-", tmp_path)), [f"die{n}" for n in range(20)], kept)

    assert len(begun(tmp_path)) <= 6 + mortal.size


def test_workers_that_die_in_construction_are_replaced_and_given_up_after_three(mortal, kept, tmp_path):
    (tmp_path / "once").mkdir()
    assert computed(mortal, Words(Prefix("x-", tmp_path / "once", deaths=1)), ("a",), kept) == [b"x-a"]

    with pytest.raises(MachineError, match=rf"3 workers in a row died before they had loaded.*{DIED}"):
        computed(mortal, Words(Prefix("x-", tmp_path, deaths=99)), ("b", "c"), kept)

    assert n_built(tmp_path) <= 3 + mortal.size  # those that were being started when the third died
    assert names(kept) == {"a"} and begun(tmp_path) == []


def test_a_map_that_is_left_in_the_middle_leaves_the_engine_usable(engine, kept, tmp_path):
    work = Words(Prefix("x-", tmp_path))
    some = engine.map(work, {word: word for word in WORDS})
    next(some)
    some.close()

    assert computed(engine, work, WORDS, kept) == [f"x-{word}".encode() for word in WORDS]


def test_bytes_that_differ_at_the_second_time_are_an_error(kept, tmp_path):
    class Twice(LocalEngine):
        def map(self, work, items):
            for key, data in super().map(work, items):
                yield key, data
                yield key, data if key.name != "c" else b"other"

    with pytest.raises(MachineError, match=r"/c: two computations of this gave different results"):
        computed(Twice(), Words(Prefix("x-", tmp_path)), WORDS, kept)
    assert names(kept) == {"a", "b", "c"} and (kept / "c").read_bytes() == b"x-c"
