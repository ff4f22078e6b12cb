"""A llama-server that does not answer: the machine is not mistaken for the file."""

import sys

import pytest

from srit.errors import DataError, MachineError
from srit.exports.gguf import llama_cpp

SERVER = """#!{python}
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        {ends}


{begins}
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
THROWS = "print(\"terminate called after throwing an instance of 'std::bad_alloc'\", flush=True); os.abort()"


@pytest.mark.parametrize(
    ("begins", "ends", "error", "message"),
    [
        ("", "os.kill(os.getpid(), signal.SIGKILL)", MachineError, "too little memory for model.gguf"),
        ("", THROWS, MachineError, "too little memory for model.gguf"),
        ("", "print('error: no such tensor', flush=True); os._exit(1)", DataError, "run it: error: no such tensor"),
        (THROWS, "", MachineError, "too little memory for model.gguf"),
        ("sys.exit('error: bad magic')", "", DataError, "model.gguf: llama.cpp cannot run it: error: bad magic"),
        ("signal.pause()", "", MachineError, "did not load model.gguf within 2 s: rerun the same command when"),
        ("", "signal.pause()", MachineError, "gave no answer for 2 s: rerun the same command when"),
        ("", "pass", MachineError, "model.gguf: llama.cpp broke off an answer"),
    ],
)
def test_a_server_that_ends_or_hangs_is_said_to_lack_memory_or_time(
    tmp_path, monkeypatch, begins, ends, error, message
):
    program = tmp_path / "llama-server"
    program.write_text(SERVER.format(python=sys.executable, begins=begins, ends=ends or "pass"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(llama_cpp, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(llama_cpp, "END_SECONDS", 2.0)
    monkeypatch.setattr(llama_cpp, "START_SECONDS", 2.0 if begins == "signal.pause()" else 60.0)
    (tmp_path / "model.gguf").write_bytes(b"x")

    with pytest.raises(error, match=message), llama_cpp.serving(tmp_path / "model.gguf") as server:
        server.ids("x")
