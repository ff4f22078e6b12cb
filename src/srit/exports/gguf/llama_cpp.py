"""Asks a llama.cpp server on this machine: llama-server from PATH, or the one in the package xllamacpp."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import IO, Any, NamedTuple

from srit.errors import DataError, MachineError, SritError
from srit.exports.trials import without_end
from srit.shortages import free_memory, gigabytes, lacks_memory

START_SECONDS = 300.0  # in which a model must be loaded
ANSWER_SECONDS = 600.0
END_SECONDS = 60.0  # of a process that no longer answers
_HOST = "127.0.0.1"

# Ends when its standard input does, so that it never outlives its caller.
_PACKAGED = """
import sys, xllamacpp
asked = xllamacpp.CommonParams()
asked.model.path, asked.hostnames, asked.port = sys.argv[1], [sys.argv[2]], int(sys.argv[3])
asked.n_ctx, asked.n_parallel = int(sys.argv[4]), 1
server = xllamacpp.Server(asked)
sys.stdin.read()
"""


class _LostError(Exception):
    """A server's process has ended, or is about to."""


class Server(NamedTuple):
    """A running server."""

    url: str
    name: str

    def answer(self, prompt_ids: Sequence[int], most: int, stop_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the greedy answer, without the token that ends it."""
        asked = {
            "prompt": list(prompt_ids),
            "n_predict": most,
            "temperature": 0.0,
            "return_tokens": True,
            "cache_prompt": False,
        }
        return without_end(tuple(self._post("/completion", asked)["tokens"]), stop_ids)

    def chat_ids(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a user's turn by the chat template in the file."""
        written = self._post("/apply-template", {"messages": [{"role": "user", "content": text}]})["prompt"]
        return self.ids(written)

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a prompt as it is completed: with the tokens that begin a text."""
        asked = {"content": text, "add_special": True, "parse_special": True}
        return tuple(self._post("/tokenize", asked)["tokens"])

    def _post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise DataError(f"llama.cpp refuses {path}: {error.read(500).decode(errors='replace')}") from None
        except TimeoutError:
            raise MachineError(
                f"{self.name} gave no answer for {ANSWER_SECONDS:.0f} s: rerun the same command when the machine is "
                "less busy"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise _LostError(str(error)) from None


@contextmanager
def serving(path: Path, room: int = 4096) -> Iterator[Server | None]:
    """Run a server with a GGUF file while the block runs; None: there is no llama.cpp on this machine.

    Args:
        room: tokens of a prompt with its answer.

    Raises:
        DataError: llama.cpp cannot load the file; the message has its reason.
        MachineError: the machine is too busy, or it lacks memory.
    """
    port = _free_port()
    found = _command(path, port, room)
    if found is None:
        yield None
        return
    name, command = found
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        try:
            server = Server(f"http://{_HOST}:{port}", name)
            if not _is_up(server, process):
                raise _failure(path, process.poll(), log)
            yield server
        except _LostError as error:
            with suppress(subprocess.TimeoutExpired):
                raise _failure(path, process.wait(END_SECONDS), log) from None
            raise MachineError(f"{path.name}: llama.cpp broke off an answer ({error}): rerun the command") from None
        finally:
            process.kill()


def _command(path: Path, port: int, room: int) -> tuple[str, list[str]] | None:
    """Return llama.cpp's name and the command of its server."""
    if (program := shutil.which("llama-server")) is not None:
        options = ["--host", _HOST, "--port", str(port), "-c", str(room), "-np", "1", "--jinja"]
        return "llama-server", [program, "-m", str(path), *options]
    if find_spec("xllamacpp") is None:
        return None
    from importlib.metadata import version

    name = f"llama.cpp (xllamacpp {version('xllamacpp')})"
    return name, [sys.executable, "-c", _PACKAGED, str(path), _HOST, str(port), str(room)]


def _free_port() -> int:
    with socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_up(server: Server, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a server has loaded its model; return False if it ends or takes too long."""
    began = monotonic()
    while monotonic() - began < START_SECONDS and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5) as response:
                if response.status == 200:
                    return True
        except OSError:
            sleep(0.05)
    return False


def _failure(path: Path, exit_code: int | None, log: IO[bytes]) -> SritError:
    """Return why a server does not answer: the machine's fault, or the file's.

    Args:
        exit_code: None: it still runs.
    """
    log.seek(0)
    said = log.read().decode(errors="replace")
    if exit_code is None:
        return MachineError(
            f"llama.cpp did not load {path.name} within {START_SECONDS:.0f} s: rerun the same command when the machine "
            "is less busy"
        )
    if exit_code == -signal.SIGKILL or lacks_memory(said):  # Linux kills when memory runs out
        free = f"the file has {gigabytes(path.stat().st_size)}, {gigabytes(free_memory())} are free"
        return MachineError(
            f"llama.cpp had too little memory for {path.name} ({free}): make room, and rerun the command"
        )
    return DataError(f"{path.name}: llama.cpp cannot run it: {_fault(said)}")


def _fault(log: str) -> str:
    said = re.search(r"(?:error|failed).*", log, re.IGNORECASE)  # what follows the first is its consequence
    return said[0].strip() if said else "it gives no reason"
