"""`srit watch` on a run whose files are damaged, and with a browser that goes away."""

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from small_runs import RECIPE

from srit.cli.watch import server_of


@pytest.fixture
def watched(tmp_path, capsys):
    """A begun run, and the port of its server."""
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(student="student"))
    (tmp_path / "manifest.json").mkdir()
    server = server_of(tmp_path, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_read_is_told_to_the_browser(watched):
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(f"http://127.0.0.1:{watched}/")

    assert told.value.code == 500 and b"manifest.json" in told.value.read()


def test_a_browser_that_goes_away_is_nothing_to_speak_of(watched):
    with socket.create_connection(("127.0.0.1", watched)) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1")
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing it resets the connection
    time.sleep(0.5)  # the fixture then looks at what the server said
