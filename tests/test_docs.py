"""What the documents name is there."""

import json
import os
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


# In place of a student of 135M parameters and its trainings: a tiny one that learns to end its turn.
QUICKLY = {
    '"smollm2-135m-instruct", "chat_template": "chatml"': 'STUDENT, "tuning": "full", "dtype": "float32"',
    '"epochs": 6, "learning_rate": 5e-4': '"epochs": 30, "learning_rate": 1e-2, "direct_target": "answer"',
    '"limit": 60': '"limit": 12',
    '"max_new_tokens": 64}': '"max_new_tokens": 12}',
    '"max_new_tokens": 64, "base_limit": 20': '"max_new_tokens": 8',
}


def test_the_notebook_runs_from_top_to_bottom(tiny_student, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for slow, quick in QUICKLY.items():
        assert slow in code
        code = code.replace(slow, quick)

    names = {"STUDENT": os.fspath(tiny_student)}
    exec(compile(code, "tour.ipynb", "exec"), names)

    said = capsys.readouterr().out
    assert re.search(r"\d+ pairs. The first one prefers\n  \S.*:", said) and "refined     sums: " in said
    assert len(names["axes"].patches) == 3 and said.endswith("runs/tour/report.html\n")
    assert all(not cell.get("outputs") for cell in cells), "kept outputs grow old"
