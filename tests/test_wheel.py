"""The wheel: all that srit needs is in it, and it works in an empty folder with nothing of the checkout in reach."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from small_runs import RECIPE

from srit.recipe import shipped
from srit.study.grid import shipped_studies

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/srit"
NEEDED = sorted(
    str(path.relative_to(PACKAGE))
    for path in PACKAGE.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)


def test_each_file_of_the_package_that_is_no_module_is_declared():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["srit"]

    declared = {str(path.relative_to(PACKAGE)) for pattern in patterns for path in PACKAGE.glob(pattern)}

    assert "recipes/quickstart.yaml" in NEEDED and set(NEEDED) <= declared


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves folders behind
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True)
    [built] = folder.glob("srit-*.whl")
    return built


@pytest.fixture(scope="module")
def outside(wheel, tmp_path_factory):
    """What runs a command of the installed wheel in an empty folder."""
    folder = tmp_path_factory.mktemp("outside")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    [packages] = (folder / "venv/lib").glob("python*/site-packages")
    # What srit depends on, without the checkout that is installed there.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, env=environment)
    (folder / "empty").mkdir()

    def run(*command):
        return subprocess.run(
            [folder / "venv/bin" / command[0], *map(str, command[1:])],
            cwd=folder / "empty",
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(wheel):
    assert {f"srit/{name}" for name in NEEDED} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_the_command_and_the_package_are_those_of_the_wheel(outside):
    imported = outside("python", "-c", "import srit; print(srit.__file__)")

    assert "/outside" in imported.stdout and str(ROOT) not in imported.stdout
    assert outside("srit", "--version").stdout.startswith("srit ")
    found = outside("srit", "doctor")
    assert found.returncode == 0 and str(ROOT) not in found.stdout, found.stderr


# What `srit plan` says of that which is the user's to bring: recorded answers, a key, a server.
YOURS = ("bring your own", "OPENAI_API_KEY", "start the server")


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_needs_no_file_of_the_checkout(name, outside):
    planned = outside("srit", "plan", name)

    said = planned.stdout + planned.stderr
    assert str(ROOT) not in said and "../" not in said
    assert planned.returncode == 0 or any(one in planned.stderr for one in YOURS), said


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_needs_no_file_of_the_checkout(name, outside):
    planned = outside("srit", "study", name, "--dry-run")

    assert planned.returncode == 0 and "in all: " in planned.stdout and "../" not in planned.stdout, planned.stderr


@pytest.mark.slow
def test_a_run_and_its_pages_are_made_by_the_wheel(outside, tiny_student, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(student=tiny_student))

    done = outside("srit", "run", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
    study = outside("srit", "study", "report", ROOT / "studies/settings/study.json", "--out", tmp_path / "study")

    assert done.returncode == study.returncode == 0, done.stderr + study.stderr
    page = (tmp_path / "run/report.html").read_text()
    assert "<script" in page and (tmp_path / "run/instructed/README.md").exists()
    assert (tmp_path / "study/study.html").exists()
