"""Forks a process for each command, after everything was imported once: a cold start takes longer than a small run.

Reads lines of JSON: the arguments of srit, a folder, and where to strike. Answers each with the pid, and with how it
ended.
"""

import json
import os
import sys

import peft
import torch
import transformers
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.cli import app

sys.path.insert(0, os.path.dirname(__file__))
from operations import Operations

IMPORTED = (peft, torch, transformers, AutoModelForCausalLM)


def main():
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
    os.setsid()
    os.chdir(asked["cwd"])
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))
    Operations(asked["folder"], asked["at"], asked["fault"], asked["log"]).install()
    code = 1
    try:
        app(asked["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
