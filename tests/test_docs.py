"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/srit"
# docs/study/protocol.md is as it was before the study was run.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
PATH = re.compile(r"`((?:src/srit|tests|bench|docs|studies|runs/studies)/[^`\s]*)`|\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_document_names_exists(page):
    named = {inside or linked for inside, linked in PATH.findall(page.read_text())}
    places = {name: [ROOT / name, page.parent / name] for name in named if not re.search(r"[A-Z*<]{4}|\*|<", name)}

    assert [name for name, found in places.items() if not any(place.exists() for place in found)] == []


def tree():
    """The paths of the tree in CONTRIBUTING.md, by its indentation."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text[text.index("```\nsrc/srit/\n") :].split("```")[1]
    above, paths = [ROOT], []
    for line in block.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[: depth + 1], above[depth] / line.split()[0]]
        paths.append(above[-1])
    return paths


def test_the_tree_of_the_package_has_every_module_and_no_other():
    named = tree()
    modules = {path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")}
    rooms = {path for path in named if path.is_dir()}

    assert [path for path in named if not path.exists()] == []
    # The files of a folder whose files the tree does not list need no line of their own.
    listed = {room for room in rooms if any(path.parent == room for path in named)}
    assert {path for path in modules if path.parent in listed} <= set(named)
    assert {path.parent for path in modules} <= rooms | {PACKAGE}
