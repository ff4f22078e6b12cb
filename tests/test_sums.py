"""Sums of what a run reads from outside: of large files they are cached, and no edit goes unnoticed."""

import os

import pytest

from srit import sums
from srit.run_directory import sha256_of


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Every file counts as large, and as settled; the list has the files that were read."""
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sums, "LARGE", 0)
    monkeypatch.setattr(sums, "SETTLED_SECONDS", -10.0)
    read = []

    def reading(path, of_file=None):
        if of_file is None:
            read.append(path.name)
        return sha256_of(path, of_file)

    monkeypatch.setattr(sums, "sha256_of", reading)
    return read


def test_a_large_file_is_read_once(tmp_path, counted):
    folder = write(tmp_path / "model/weights", "w" * 99).parent
    write(folder / "config", "c")

    first, again = sums.sum_of(folder), sums.sum_of(folder)

    assert first == again == sha256_of(folder)
    assert sorted(counted) == ["config", "weights"]


def test_an_edit_of_a_large_file_is_seen_though_its_size_and_mtime_are_as_before(tmp_path, counted):
    path = write(tmp_path / "weights", "w" * 99)
    before, times = sums.sum_of(path), path.stat()

    path.write_text("v" * 99)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert sums.sum_of(path) == sha256_of(path) != before


def test_a_file_that_has_just_been_written_is_read_again(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(sums, "SETTLED_SECONDS", 60.0)
    path = write(tmp_path / "weights", "w" * 99)

    sums.sum_of(path), sums.sum_of(path)

    assert counted == ["weights", "weights"]


def test_a_small_file_is_always_read(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(sums, "LARGE", 100)
    path = write(tmp_path / "rows", "r" * 99)

    sums.sum_of(path), sums.sum_of(path)

    assert counted == ["rows", "rows"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, counted, monkeypatch):
    monkeypatch.setenv("SRIT_CACHE", str(write(tmp_path / "file", "")))
    path = write(tmp_path / "weights", "w" * 99)

    assert sums.sum_of(path) == sha256_of(path)
