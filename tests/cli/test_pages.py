"""Pages that are written from the code are the ones that are kept."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srit.cli import app
from srit.cli.doctor import diagnose
from srit.recipe.fields import page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KEPT = sorted(path.parent for path in ROOT.glob("studies/*/study.json"))


def script(name):
    spec = spec_from_file_location(name, ROOT / f"bench/{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_tasks_is_current():
    assert CliRunner().invoke(app, ["tasks", "--markdown"]).stdout == (DOCS / "tasks.md").read_text()


def test_the_page_of_recipes_is_current():
    assert page() == (DOCS / "recipe.md").read_text()


def test_the_table_of_performance_is_that_of_the_measurements():
    assert script("page").table() in (DOCS / "performance.md").read_text()


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_the_pages_of_a_kept_study_are_those_of_its_raw_results(tmp_path, kept):
    done = CliRunner().invoke(app, ["study", "report", str(kept), "--out", str(tmp_path)])

    assert done.exit_code == 0
    pages = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    stale = [str(page) for page in pages if (tmp_path / page).read_bytes() != (kept / page).read_bytes()]
    assert stale == []


def test_the_doctor_names_what_is_missing_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("srit.kinds.find_spec", lambda module: None)

    findings = diagnose(tmp_path)

    lines = {finding.what: finding for finding in findings}
    hub = "hub: benchmarks and data sets of the hub"
    assert lines["student smollm2-135m-instruct"].ok
    assert lines[hub] == (False, hub, "pip install 'srit[hub]'")
    assert len(lines) == len(findings)


@pytest.mark.parametrize(
    ("installed", "ok", "said"),
    [
        (None, False, "pip install 'srit[ray]' on every machine of the cluster, with srit=="),
        ("2.60.0", True, "every machine of the cluster needs ray==2.60.0, srit=="),
        ("2.64.1", False, "2.64.1 is outside the tested range: pip install 'srit[ray]'"),
    ],
)
def test_the_doctor_says_what_a_cluster_needs(tmp_path, monkeypatch, installed, ok, said):
    def version_of(package):
        if package == "ray" and installed is None:
            raise PackageNotFoundError
        return installed if package == "ray" else version(package)

    monkeypatch.setattr("srit.cli.doctor.version", version_of)

    [ray] = [finding for finding in diagnose(tmp_path) if finding.what.startswith("ray:")]

    assert ray.ok == ok and ray.found.startswith(said)
