"""Runs srit in processes of its own that begin at once: one that has imported everything forks for each command.

A cold start takes seconds, longer than a small run. `python zygote.py` reads lines of JSON, one for each command, and
answers each with the pid, and with how it ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_UNSET = ("COLUMNS", "NO_COLOR", "OPENAI_API_KEY")


class Zygote:
    """The process that forks; one command at a time."""

    def __init__(self, place):
        """
        Args:
            place: the folder that commands run in, and that keeps what they say.
        """
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        around = {name: value for name, value in os.environ.items() if name not in _UNSET}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env={**around, "TERM": "xterm"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self, *arguments, folder=None, at=0, fault="kill before", states=None, terminal=None, path=(), ignored=()
    ):
        """Begin a command and return its pid; `ended` waits for it.

        Args:
            folder: whose operations are counted in `operations`, and struck by `fault` at number `at`.
            states: a folder that gets a copy of `folder` as each kill or power loss would leave it.
            terminal: the device that it reads from and writes to; None: it writes to `output`.
            path: of folders that it imports from first.
            ignored: signals that it ignores when it begins.
        """
        (self.place / "operations.log").unlink(missing_ok=True)
        asked = {
            "arguments": [str(argument) for argument in arguments],
            "folder": folder and str(folder),
            "at": at,
            "fault": fault,
            "states": states and str(states),
            "cwd": str(self.place),
            "output": terminal or str(self.place / "output"),
            "log": str(self.place / "operations.log"),
            "path": [str(place) for place in path],
            "ignored": [int(number) for number in ignored],
        }
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        self._pid = int(self.process.stdout.readline())
        return self._pid

    def ended(self, seconds=600):
        """Return the exit code, negative for a signal; a command that goes on for longer is killed."""
        late = threading.Timer(seconds, os.kill, (self._pid, signal.SIGKILL))
        late.start()
        try:
            return int(self.process.stdout.readline())
        finally:
            late.cancel()

    def run(self, *arguments, **options):
        """Run a command to its end, and return the exit code."""
        self.start(*arguments, **options)
        return self.ended()

    def kill(self, pid, number=signal.SIGKILL):
        """Send a signal to a command that may have ended, and return the exit code."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return self.ended(60)

    @property
    def output(self):
        return (self.place / "output").read_text(errors="replace")

    @property
    def operations(self):
        return (self.place / "operations.log").read_text().splitlines()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def main():
    import peft  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch
    import transformers  # noqa: F401
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM  # noqa: F401

    from srit import api  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(asked)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(asked):
    os.setsid()  # the terminal that it opens first is then its own, so that keys send signals
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(asked["cwd"])
    _connect(asked["output"])
    sys.path[:0] = asked["path"]
    if asked["folder"]:
        sys.path.append(str(Path(__file__).parent / "torture"))
        from operations import Operations

        Operations(asked["folder"], asked["at"], asked["fault"], asked["log"], asked["states"]).install()
    code = 1
    try:
        from srit.cli import app

        app(asked["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _connect(output):
    is_terminal = output.startswith("/dev/")
    written = os.open(output, os.O_RDWR if is_terminal else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(written if is_terminal else os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor in (1, 2):
        os.dup2(written, descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))


if __name__ == "__main__":
    main()
