"""What is installed is what constraints.txt says."""

import re
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LINE = re.compile(r"^([\w.-]+)==([\w.!-]+)", re.MULTILINE)
TEXT = (Path(__file__).parents[1] / "constraints.txt").read_text()
PINNED = {canonicalize_name(name): version for name, version in LINE.findall(TEXT)}


def needed(name, found):
    """Add all that a package needs without extras, itself included."""
    if name in found:
        return
    found.add(name)
    for requirement in map(Requirement, distribution(name).requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(canonicalize_name(requirement.name), found)


def test_every_package_that_srit_needs_has_an_exact_version():
    found = set()
    needed("srit", found)

    assert sorted(found - {"srit"} - set(PINNED)) == []


def test_packages_are_installed_in_the_versions_that_are_pinned():
    installed = {canonicalize_name(one.name): one.version.partition("+")[0] for one in distributions()}

    assert {name: installed[name] for name in PINNED if name in installed and installed[name] != PINNED[name]} == {}
