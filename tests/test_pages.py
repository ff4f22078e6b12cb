"""Pages that are written from the code are the ones that are kept."""

from pathlib import Path

from typer.testing import CliRunner

from srit.cli import app
from srit.doctor import diagnose

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_tasks_is_current():
    assert CliRunner().invoke(app, ["tasks", "--markdown"]).stdout == (DOCS / "tasks.md").read_text()


def test_the_doctor_names_what_is_missing_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("srit.doctor.find_spec", lambda module: None)

    lines = {finding.what: finding for finding in diagnose(tmp_path)}

    assert lines["student smollm2-135m-instruct"].ok
    assert lines["hub: benchmarks from the hub"] == (False, "hub: benchmarks from the hub", "pip install 'srit[hub]'")
