"""Exports on a server that speaks the hub's API."""

import pytest
from hub_server import HubServer
from typer.testing import CliRunner

from srit.cli import app


@pytest.fixture
def hub(monkeypatch):
    """Start a server that everything takes for the hub."""

    def started(**state):
        server = HubServer(**state)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_canary")
        return server

    return started


def push(place, out, kind="merged", *more):
    what = ["export", str(place), "--to", kind, "--out", str(out), "--questions", "1"]
    return CliRunner().invoke(app, [*what, "--push", "me/mine", *more])


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
@pytest.mark.parametrize(("kind", "holds"), [("merged", "model"), ("datasets", "dataset")])
def test_an_export_is_uploaded_whole_and_is_private(tiny_run, tmp_path, hub, kind, holds):
    with hub() as server:
        done = push(tiny_run, tmp_path / "mine", kind)

    assert done.exit_code == 0 and f"pushed: {server.url}/" in done.output, done.output
    [created] = server.created
    assert (created.get("private"), created.get("type", "model")) == (True, holds) or created["visibility"] == "private"
    written = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    kept = {name: data for name, data in server.files.items() if name != ".gitattributes"}
    assert kept == written and (kind == "datasets" or {"README.md", "model.safetensors"} <= set(written))
    assert server.tokens == {"Bearer hf_canary"} and "hf_canary" not in done.output


def test_nothing_goes_into_a_public_repository_unasked(tiny_run, tmp_path, hub):
    with hub(private=False) as server:
        refused = push(tiny_run, tmp_path / "one", "datasets")
        assert not server.files
        done = push(tiny_run, tmp_path / "two", "datasets", "--public")

    assert refused.exit_code == 2 and "me/mine exists and is public: add --public" in refused.output
    assert done.exit_code == 0 and server.files


def test_a_refused_upload_leaves_the_folder_and_says_how_to_go_on(tiny_run, tmp_path, hub):
    with hub(refuses=True):
        done = push(tiny_run, tmp_path / "mine", "datasets")

    assert done.exit_code == 5 and f"is whole: hf upload me/mine {tmp_path / 'mine'}" in done.output
    assert (tmp_path / "mine/demonstrations.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        ("mine", "hf_canary", "'mine' has no owner: write USER/NAME"),
        ("me/mine/x", "hf_canary", "--push: Repo id must be"),
        ("me/mine", "", "not logged in to the hub"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_anything_is_made(tiny_run, tmp_path, monkeypatch, name, token, message):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    out = ["--out", str(tmp_path / "out"), "--push", name]
    done = CliRunner().invoke(app, ["export", str(tiny_run), "--to", "merged", *out])

    assert done.exit_code == 2 and message in done.output and not (tmp_path / "out").exists()
