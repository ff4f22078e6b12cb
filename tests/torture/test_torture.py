"""Runs that are killed, or whose disk fails or loses power, end in the same bytes as runs that were left alone.

`make torture SEED=7` runs this file; the seed decides every moment and operation, and a failure names it.
"""

import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from small import RECIPE, contents, study_of

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("SEED", "0"))
KILLS = int(os.environ.get("KILLS", "20"))
STRIKES = int(os.environ.get("STRIKES", "20"))  # states tried, and operations at which each error strikes; 0: all
LINE = f"SEED={SEED} KILLS={KILLS} STRIKES={STRIKES}"


@pytest.fixture(scope="module")
def recipe(zygote, tiny_student):
    path = zygote.place / "small.yaml"
    path.write_text(RECIPE.format(student=tiny_student, teacher="{kind: solver}"))
    return path


@pytest.fixture(scope="module")
def whole(zygote, recipe):
    """A run that was left alone, the seconds it took, and its operations."""
    out, began = zygote.place / "whole", time.monotonic()
    assert zygote.run("run", recipe, "--out", out, folder=out) == 0, zygote.output
    return out, time.monotonic() - began, zygote.operations


def finished(zygote, *arguments, folder):
    """Runs a command to its end, and returns what it made."""
    code = zygote.run(*arguments, folder=folder)
    assert code == 0, f"{LINE}: exit {code}: {zygote.output}"
    return contents(folder)


def killed_until(zygote, kills, draw, lifetime, *arguments, folder):
    """Kills a command at random moments of its life, again and again, and counts the stages that it was killed in."""
    killed = Counter()
    while killed.total() < kills:
        pid = zygote.start(*arguments, folder=folder)
        time.sleep(draw.uniform(0.05, lifetime))
        if zygote.kill(pid) == 0:  # it was done before: a new run
            shutil.rmtree(folder)
            continue
        lines = [line for line in zygote.output.splitlines() if line.strip().endswith("…")]
        killed[lines[-1].strip(" …") if lines else "start"] += 1
    return killed


def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(zygote, recipe, whole, tmp_path):
    reference, seconds, _ = whole
    draw, out, killed = random.Random(f"{SEED}/kills"), tmp_path / "run", Counter()

    while killed.total() < KILLS:
        several = min(draw.randint(3, 12), KILLS - killed.total())
        killed += killed_until(zygote, several, draw, seconds / 3, "run", recipe, "--out", out, folder=out)
        assert finished(zygote, "run", recipe, "--out", out, folder=out) == contents(reference), LINE
        shutil.rmtree(out)

    print(f"{killed.total()} kills: {dict(killed)}")
    assert KILLS < 100 or len(killed) > 10, killed  # stages


def test_a_study_killed_at_random_moments_ends_in_the_same_bytes(zygote, tiny_student, tmp_path):
    study = tmp_path / "pair.yaml"
    study.write_text(study_of(RECIPE.format(student=tiny_student, teacher="{kind: solver}")))
    began = time.monotonic()
    reference = finished(zygote, "study", study, "--out", tmp_path / "whole", folder=tmp_path / "whole")
    seconds, draw = time.monotonic() - began, random.Random(f"{SEED}/study")

    out = tmp_path / "killed"
    killed = killed_until(zygote, max(3, KILLS // 5), draw, seconds / 3, "study", study, "--out", out, folder=out)
    again = finished(zygote, "study", study, "--out", out, folder=out)

    print(f"{killed.total()} kills: {dict(killed)}")
    differing = {name for name in reference.keys() | again.keys() if reference.get(name) != again.get(name)}
    assert not {name for name in differing if "timings" not in name}, LINE


def some(every, part):
    """A sample of STRIKES, or all."""
    return every if not STRIKES else sorted(random.Random(f"{SEED}/{part}").sample(every, min(STRIKES, len(every))))


def test_what_a_kill_or_a_power_loss_leaves_ends_in_the_same_bytes(zygote, recipe, whole, tmp_path):
    out, states = tmp_path / "run", tmp_path / "states"
    assert zygote.run("run", recipe, "--out", out, folder=out, states=states) == 0, zygote.output
    assert contents(out) == contents(whole[0])
    operations, left, tried = zygote.operations, sorted(path.name for path in states.iterdir()), Counter()

    for name in some(left, "states"):
        shutil.rmtree(out)
        (states / name).rename(out)
        again = finished(zygote, "run", recipe, "--out", out, folder=out)
        number, fault = name.split(" ", 1)
        assert again == contents(whole[0]), f"{LINE}: {fault} at {number}, {operations[int(number) - 1]}"
        tried[fault] += 1

    print(f"{len(operations)} operations leave {len(left)} states; {tried.total()} tried: {dict(tried)}")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_run_whose_disk_fails_at_any_operation_ends_in_the_same_bytes(zygote, recipe, whole, tmp_path, error):
    reference, _, operations = whole
    out, ends = tmp_path / "run", Counter()

    for number in some(range(1, len(operations) + 1), error):
        code = zygote.run("run", recipe, "--out", out, folder=out, at=number, fault=error)
        said = zygote.output
        where = f"{LINE}: {error} at {number}, {operations[number - 1]}: exit {code}: {said}"
        assert code in (5, 0) and "internal error" not in said, where  # 0: cleaning up may fail without harm
        assert finished(zygote, "run", recipe, "--out", out, folder=out) == contents(reference), where
        ends[code] += 1
        shutil.rmtree(out)

    print(f"{error}: {len(operations)} operations; {ends.total()} errors, exit codes: {dict(ends)}")


DAMAGES = {
    "cut": lambda data, draw: data[: len(data) // 2],
    "flipped": lambda data, draw: flipped(data, draw.randrange(8 * len(data))),
    "emptied": lambda data, draw: b"",
    "deleted": lambda data, draw: None,
}


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damaged_files(folder):
    """One file of each kind in a run."""
    kinds = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        if path.name not in (".lock", "recipe.yaml"):  # written again at each start
            kinds.setdefault((path.parent.name.rstrip("0123456789"), path.name), path.relative_to(folder))
    return list(kinds.values())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again_or_refused_by_name(zygote, recipe, whole, tmp_path, damage):
    reference, draw, ends = whole[0], random.Random(f"{SEED}/{damage}"), Counter()
    for name in damaged_files(reference):
        out = shutil.copytree(reference, tmp_path / "run")
        data = DAMAGES[damage]((out / name).read_bytes(), draw)
        (out / name).unlink() if data is None else (out / name).write_bytes(data)

        code = zygote.run("run", recipe, "--out", out, folder=out)

        where = f"{LINE}: {name} {damage}: exit {code}: {zygote.output}"
        assert code == 0 or (code == 3 and Path(name).name in zygote.output), where
        assert "internal error" not in zygote.output, where
        assert code == 3 or contents(out) == contents(reference), where
        ends[code] += 1
        shutil.rmtree(out)
    print(f"{damage}: {dict(ends)}")
