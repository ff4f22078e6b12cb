"""Counts what a process does to files, strikes at the operation it was told to, and keeps what a strike would leave."""

import builtins
import errno
import hashlib
import os
import shutil
import signal
from pathlib import Path

FAULTS = ("kill before", "kill after", "ENOSPC", "EIO", "power loss")


class Operations:
    """Wraps the functions that change files below a folder.

    Args:
        at: the number of the operation to strike at, from 1; 0: never.
        fault: one of FAULTS.
        log: gets a line for each operation.
        states: gets the folder as each kill or power loss would leave it, if given; of equal ones the first.
    """

    def __init__(self, folder, at, fault, log, states=None):
        self.folder, self.at, self.fault = str(Path(folder).resolve()), at, fault
        self.states = states and States(self.folder, states)
        self.done, self.is_struck = 0, False
        self.log = open(log, "a", buffering=1)  # noqa: SIM115
        is_kept = states or (at and fault == "power loss")
        self.unsynced = Unsynced(self.folder, Path(log).parent / "lost", is_kept=is_kept)

    def install(self):
        for name in ("replace", "rename"):
            setattr(os, name, self._wrapped(getattr(os, name), name, self.unsynced.renamed))
        for name in ("unlink", "remove", "rmdir"):
            setattr(os, name, self._wrapped(getattr(os, name), name, self.unsynced.removed))
        os.mkdir = self._wrapped(os.mkdir, "mkdir", self.unsynced.made)
        os.fsync = self._wrapped(os.fsync, "fsync", self.unsynced.synced)
        builtins.open = self._opening(builtins.open)
        Path.open = builtins.open

    def _wrapped(self, function, name, note):
        def operation(place, *arguments, **named):
            path = _path_of(place, named.get("dir_fd"))
            if not self._is_ours(path):
                return function(place, *arguments, **named)
            with self._struck(name, path):
                undo = note(path, *map(str, arguments[:1]))
                result = function(place, *arguments, **named)
                undo()
                return result

        return operation

    def _opening(self, opened):
        def operation(file, mode="r", *arguments, **named):
            path = _path_of(file, None)
            if not set(mode) & set("wax+") or not self._is_ours(path) or path.endswith(".lock"):
                return opened(file, mode, *arguments, **named)
            with self._struck(f"open {mode}", path):
                undo = self.unsynced.written(path)
                result = opened(file, mode, *arguments, **named)
                undo()
                return result

        return operation

    def _is_ours(self, path):
        return not self.is_struck and path.startswith(self.folder)

    def _struck(self, name, path):
        self.done += 1
        self.log.write(f"{self.done} {name} {os.path.relpath(path, self.folder)}\n")
        return Struck(self)

    def strike(self, *, before):
        if self.states and before:
            self.states.keep(f"{self.done:05} kill before")
        elif self.states:
            self.states.keep(f"{self.done:05} kill after")
            self.states.keep(f"{self.done:05} power loss", self.unsynced.lose)
            self.states.keep(f"{self.done:05} power loss, names kept", self.unsynced.lose_data)
        if self.done != self.at or self.is_struck:
            return
        self.is_struck = before == (self.fault in ("kill before", "ENOSPC", "EIO"))
        if before and self.fault in ("ENOSPC", "EIO"):
            number = getattr(errno, self.fault)
            raise OSError(number, os.strerror(number))
        if not before and self.fault == "power loss":
            self.unsynced.lose(self.folder)
        if self.is_struck and self.fault not in ("ENOSPC", "EIO"):
            os.kill(os.getpid(), signal.SIGKILL)


class Struck:
    def __init__(self, operations):
        self.operations = operations

    def __enter__(self):
        self.operations.strike(before=True)

    def __exit__(self, kind, error, trace):
        self.operations.strike(before=False)  # whether or not the operation failed, as some are meant to


class States:
    """Copies of a folder, each kept once."""

    def __init__(self, folder, place):
        self.folder, self.place, self.seen = folder, Path(place), set()

    def keep(self, name, change=lambda copy: None):
        if not os.path.isdir(self.folder):
            return
        copy = shutil.copytree(self.folder, self.place / name, symlinks=True)
        change(str(copy))
        paths = sorted(copy.rglob("*"))
        files = [path.read_bytes() if path.is_file() else b"" for path in paths]
        sums = [
            f"{path.relative_to(copy)} {hashlib.sha256(data).hexdigest()}"
            for path, data in zip(paths, files, strict=True)
        ]
        if tuple(sums) in self.seen:
            shutil.rmtree(copy)
        self.seen.add(tuple(sums))


class Unsynced:
    """What a power loss would take: changes whose file or folder was not synced since."""

    def __init__(self, folder, kept, *, is_kept):
        self.folder, self.kept, self.is_kept, self.number = folder, kept, is_kept, 0
        shutil.rmtree(kept, ignore_errors=True)
        self.changes = []  # (the path whose sync makes it last, how to take it back in the folder or a copy of it)
        self.unwritten = {}  # what files held before data that is not synced, by path

    def _copy(self, path):
        if not self.is_kept or not os.path.lexists(path):
            return None
        self.number += 1
        place = self.kept / str(self.number)
        place.parent.mkdir(exist_ok=True)
        if os.path.isdir(path):
            shutil.copytree(path, place, symlinks=True)
        else:
            shutil.copy2(path, place)
        return place

    def _noted(self, lasts, take_back):
        return lambda: self.changes.append((lasts, take_back))

    def _in(self, folder, path):
        return os.path.join(folder, os.path.relpath(path, self.folder))

    def renamed(self, source, target):
        before = self._copy(target)

        def take_back(folder):
            old, new = self._in(folder, source), self._in(folder, target)
            _remove(old)
            if os.path.lexists(new):
                shutil.move(new, old)
            _restore(before, new)

        def noted():
            self.changes.append((os.path.dirname(target), take_back))
            moved = {path: held for path, held in self.unwritten.items() if f"{path}/".startswith(f"{source}/")}
            self.unwritten = {path: held for path, held in self.unwritten.items() if path not in moved}
            self.unwritten |= {target + path.removeprefix(source): held for path, held in moved.items()}

        return noted

    def removed(self, path, *_):
        before = self._copy(path)
        return self._noted(os.path.dirname(path), lambda folder: _restore(before, self._in(folder, path)))

    def made(self, path, *_):
        return self._noted(os.path.dirname(path), lambda folder: _remove(self._in(folder, path)))

    def written(self, path, *_):
        before = self._copy(path)

        def take_back(folder):
            _remove(self._in(folder, path))
            _restore(before, self._in(folder, path))

        def noted():
            if before is None:  # its name lasts only once the folder is synced
                self.changes.append((os.path.dirname(path), lambda folder: _remove(self._in(folder, path))))
            self.changes.append((path, take_back))
            self.unwritten.setdefault(path, before)

        return noted

    def synced(self, path, *_):
        def lasting():
            self.changes = [change for change in self.changes if change[0] != path]
            self.unwritten.pop(path, None)

        return lasting

    def lose_data(self, folder):
        """As file systems that write names before data: files are there, without what was not synced."""
        for path, held in self.unwritten.items():
            if os.path.isfile(place := self._in(folder, path)):
                Path(place).write_bytes(b"" if held is None else held.read_bytes())

    def lose(self, folder):
        for _, take_back in reversed(self.changes):
            take_back(folder)


def _restore(kept, path):
    if kept is not None:
        _remove(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copytree(kept, path, symlinks=True) if kept.is_dir() else shutil.copy2(kept, path)


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def _path_of(place, folder):
    if isinstance(place, int):
        return os.readlink(f"/proc/self/fd/{place}")
    path = os.fsdecode(place)
    if folder is not None:
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return os.path.abspath(path)
