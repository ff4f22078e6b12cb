"""Kinds of teachers, samplers, losses, trackers and task families: srit's own by name, then those of plug-ins.

A new kind is one file in the folder that declares it. Another package can bring one through an entry point:

    [project.entry-points."srit.teachers"]
    echo = "my_package.echo:TEACHER"
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from srit.errors import RecipeError
from srit.installing import extra_install

Kind = TypeVar("Kind")


class Finding(NamedTuple):
    """One line of `srit doctor`."""

    ok: bool
    what: str
    found: str


class Kinds(NamedTuple):
    """All kinds of one thing; each is imported only when it is asked for."""

    what: str  # "teacher"
    called: str  # its name in messages: "a teacher of kind {}"
    folder: str  # the package whose modules are srit's own kinds
    declared: str  # the name under which a module declares its kind
    group: str  # of the entry points of plug-ins
    by: str = ""  # the field of a kind's settings that holds its name; "": it has no settings

    def find(self, name: str, kind: type[Kind]) -> Kind:
        """Return the kind of that name; srit's own come first.

        Args:
            kind: the class of which it is an instance.

        Raises:
            RecipeError: there is none, or its plug-in does not work; names the nearest, or the package at fault.
        """
        if name in self.own():
            found = getattr(import_module(f"{self.folder}.{name}"), self.declared)
            assert isinstance(found, kind), f"{self.folder}.{name}.{self.declared} is not a {kind.__name__}"
            return found
        points = self._points(name)
        if not points:
            raise RecipeError(self.unknown(name))
        if len(points) > 1:
            packages = " and ".join(map(package_of, points))
            raise RecipeError(f"{packages} both bring {self.called.format(name)}: uninstall one of them")
        return self._loaded(points[0], kind)

    def own(self) -> tuple[str, ...]:
        """Return the names of the kinds that come with srit."""
        return _declaring(self.folder, self.declared)

    def plugins(self) -> dict[str, EntryPoint]:
        """Return the entry points of installed plug-ins by name, except those with the name of one of srit's own."""
        found = sorted(entry_points(group=self.group), key=lambda point: point.name)
        return {point.name: point for point in found if point.name not in self.own()}

    def names(self) -> list[str]:
        """Return all names, plug-ins last."""
        return [*self.own(), *self.plugins()]

    def unknown(self, name: str) -> str:
        """Return the message that there is no kind of this name, with the nearest and all others."""
        plugins = {plugin: f"{plugin} (from {package_of(point)})" for plugin, point in self.plugins().items()}
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"there is no {self.what} {name!r}: {hint}choose one of {', '.join([*self.own(), *plugins.values()])}"

    def all(self, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
        """Yield every kind that can be imported, with its name."""
        for name in self.names():
            try:
                yield name, self.find(name, kind)
            except RecipeError:  # a broken plug-in: `findings` reports it, and so does `find` under its name
                continue

    def findings(self, kind: type[Kind]) -> Iterator[Finding]:
        """Report whether each plug-in can be used."""
        for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
            line = f"{self.what} {point.name}, a plug-in"
            if point.name in self.own():
                yield Finding(False, line, f"srit uses its own kind of that name, not the one of {package_of(point)}")
                continue
            try:
                self.find(point.name, kind)
                yield Finding(True, line, package_of(point))
            except RecipeError as error:
                yield Finding(False, line, str(error))

    def _points(self, name: str) -> tuple[EntryPoint, ...]:
        """Return one entry point for each package that brings it; a package that is on the path twice counts once."""
        return tuple({package_of(point): point for point in entry_points(group=self.group, name=name)}.values())

    def _loaded(self, point: EntryPoint, kind: type[Kind]) -> Kind:
        try:
            found = point.load()
        except Exception as error:  # another package's code
            raise RecipeError(
                f"{self.called.format(point.name)} cannot be imported from {package_of(point)} "
                f"({type(error).__name__}: {error}): update that package, or uninstall it"
            ) from error
        if not isinstance(found, kind):
            raise RecipeError(
                f"{self.called.format(point.name)} from {package_of(point)}: {point.value} is "
                f"{type(found).__name__}, not {kind.__name__}: update that package, or uninstall it"
            )
        if self.by and not _is_named(found, self.by, point.name):
            raise RecipeError(
                f"{self.called.format(point.name)} from {package_of(point)}: its settings must declare "
                f'{self.by}: Literal["{point.name}"], as the entry point is named'
            )
        return found


TEACHERS = Kinds("teacher", "a teacher of kind {}", "srit.teachers", "TEACHER", "srit.teachers", "kind")
SAMPLERS = Kinds("sampler", "the sampler {}", "srit.samplers", "SAMPLER", "srit.samplers", "kind")
LOSSES = Kinds("loss", "the loss {}", "srit.training.losses", "LOSS", "srit.losses", "loss")
TRACKERS = Kinds("tracker", "the tracker {}", "srit.trackers", "TRACKER", "srit.trackers")
FAMILIES = Kinds("task family", "the task family {}", "srit.tasks", "FAMILY", "srit.tasks")


def tracker_names(stated: object) -> object:
    """Return the trackers' names in a list or a comma-separated text; "none" names none; other values stay.

    Raises:
        ValueError: there is no such tracker.
    """
    names = stated.split(",") if isinstance(stated, str) else stated
    if not isinstance(names, list):
        return names
    for name in names if names != ["none"] else ():
        if name not in TRACKERS.names():
            raise ValueError(TRACKERS.unknown(str(name)))
    return () if names == ["none"] else tuple(names)


def _is_named(kind: Any, by: str, name: str) -> bool:
    """Return whether a field of a kind's settings can have that name."""
    field = kind.settings.model_fields.get(by)
    return field is not None and name in get_args(field.annotation)


def package_of(point: EntryPoint) -> str:
    """Name the package that brings an entry point, with its version."""
    return f"the package {point.dist.name} {point.dist.version}" if point.dist else f"the module {point.module}"


def extra(name: str, module: str, use: str) -> Finding:
    """Report whether one of srit's extras is installed.

    Args:
        module: a module that it installs.
        use: what it is for.
    """
    there = find_spec(module) is not None
    return Finding(there, f"{name}: {use}", "installed" if there else extra_install(name))


@cache
def _declaring(package: str, declared: str) -> tuple[str, ...]:
    """Return the modules of a package that declare a name, found by reading: importing them would import torch."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    declares = re.compile(rf"^{declared}\b.* = ", re.MULTILINE)
    files = {path.stem: path for path in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    return tuple(sorted(name for name, path in files.items() if declares.search(path.read_text("utf-8"))))
