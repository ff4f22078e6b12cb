"""What the documents name is there."""

import ast
import contextlib
import importlib.util
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srit.cli import app
from srit.pipeline import looking

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/srit"
README = ROOT / "README.md"
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


# Instead of a student of 135M parameters and its trainings: a tiny one that learns to end its turn, and yes and no.
QUICKLY = {
    '"smollm2-135m-instruct", "chat_template": "chatml"': 'STUDENT, "tuning": "full", "dtype": "float32"',
    '"epochs": 6, "learning_rate": 5e-4': '"epochs": 30, "learning_rate": 1e-2, "direct_target": "answer"',
    '"trade", "limit": 120': '"switches", "limit": 12',
    '"trade", "limit": 60': '"switches", "limit": 12',
    'score.task == "trade"': 'score.task == "switches"',
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
    assert re.search(r"\d+ pairs. The first one prefers\n  \S.*:", said) and "refined     switches: " in said
    assert len(names["axes"].patches) == 3 and said.endswith("runs/tour/report.html\n")
    assert all(not cell.get("outputs") for cell in cells), "kept outputs grow old"


def texts_of(tree):
    """All texts in a module, with "…" in place of what is put into them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_each_message_that_heads_troubleshooting_is_in_the_source():
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    modules = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    said = "\n".join(text for module in modules for text in texts_of(module))

    assert len(headings) > 15
    assert [one for one in headings if one.removeprefix("… ") not in said] == []


def commands_of(page):
    """The commands of srit in a page, without their comments."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ srit")]
    parts = [part for line in lines for part in re.split(r"[;|] ", line.removeprefix("$ ").split(" #")[0])]
    return [part for part in parts if part.startswith("srit")]


SAID = [(page.name, command) for page in PAGES for command in commands_of(page)]


@pytest.mark.parametrize(("page", "command"), SAID, ids=[f"{page}: {command}" for page, command in SAID])
def test_each_command_in_a_document_is_one_that_srit_takes(page, command):
    # --help is answered before anything runs, but only if all other options are known.
    asked = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])

    assert asked.exit_code == 0 and "Usage: " in asked.output, asked.output


def test_each_document_is_a_page_of_the_site():
    named = set(re.findall(r"- ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    documents = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}

    assert named == {*documents, "index.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}


def block(page, language):
    """The code blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


# The tutorial's recipe for a tiny student.
SMALL = {
    "smollm2-135m-instruct, chat_template: chatml": "{student}, tuning: full, dtype: float32",
    "epochs: 6, learning_rate: 5e-4": "epochs: 30, learning_rate: 1e-2, direct_target: answer",
    "sums, limit: 60": "switches, limit: 12",
    "sums, limit: 40": "switches, limit: 4",
    "limit: 40": "limit: 4",
    "max_new_tokens: 64": "max_new_tokens: 12",
}


@pytest.fixture(scope="module")
def tutorial(tiny_student, tmp_path_factory):
    """The folder in which the tutorial was followed, and what its commands said."""
    folder = tmp_path_factory.mktemp("tutorial")
    [recipe] = block("tutorial.md", "yaml")
    for real, small in SMALL.items():
        assert real in recipe
        recipe = recipe.replace(real, small.replace("{student}", str(tiny_student)))
    (folder / "first.yaml").write_text(recipe)
    with contextlib.chdir(folder):
        done = {line: CliRunner().invoke(app, shlex.split(line)[1:]) for line in commands_of(ROOT / "docs/tutorial.md")}
    return folder, done


def test_the_commands_of_the_tutorial_do_what_it_says(tutorial):
    _, done = tutorial

    assert {line: one.exit_code for line, one in done.items()} == dict.fromkeys(done, 0), done
    again = done["srit run first.yaml refine.loss=sigmoid"].stderr
    assert "round-1/refined done in" in again and "instructed done in" not in again and "completions done" not in again


def test_the_python_of_the_reference_runs(tutorial):
    folder, _ = tutorial
    names = {}
    with contextlib.chdir(folder):
        for code in block("reference.md", "python"):
            assert "quickstart" in code or "recipe" in names
            tiny = code.replace('"quickstart", ["seed=1"]', '"first.yaml", ["refine.loss=sigmoid"]')
            exec(tiny.replace("runs/quickstart", "runs/first"), names)

    assert names["refined"] == Path("runs/first/round-1/refined") and names["results"].rows


def test_the_memory_in_the_readme_is_what_a_plan_says():
    rows = re.findall(
        r"^\| (\d+) B.*?\| ([\d.]+) GB \| ([\d.]+) GB \| ([\d.]+) GB \|$", README.read_text(), re.MULTILINE
    )
    held = [looking.HELD_BFLOAT16[tuning] for tuning in ("lora", "qlora", "full")]

    assert len(rows) == 3
    for size, *said in rows:
        assert [float(one) for one in said] == pytest.approx([int(size) * one for one in held], abs=0.05)


def test_the_picture_of_the_readme_is_drawn_from_the_kept_study(capsys):
    spec = importlib.util.spec_from_file_location("result_picture", ROOT / "bench/result_picture.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    script.main(ROOT / "studies/less-data")

    assert path_data(capsys.readouterr().out) == path_data((ROOT / "docs/result.svg").read_text())


def path_data(svg):
    """What is drawn, whichever version of matplotlib wrote it."""
    return re.findall(r'<path d="([^"]*)"', svg)
