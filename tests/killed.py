"""Runs that are killed, and what is compared with one that was left alone."""

import hashlib
import json
import os
import re
import time


def contents(folder):
    """Sums of all results. Timings, dates, the commit of srit and the folder differ between runs that are alike."""
    commit = json.loads((folder / "results.json").read_bytes())["environment"].get("commit", "none")
    sums = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", "manifest.json")):
        data = path.read_bytes()
        if path.name == "results.json":
            data = json.dumps({k: v for k, v in json.loads(data).items() if k not in ("timings", "finished")}).encode()
        if path.name == "report.html":
            data = re.sub(rb'<(p|table) class="when.*?</\1>', b"", data, flags=re.DOTALL)
        if path.name in ("results.json", "report.html"):
            data = data.replace(commit.encode(), b"")
        sums[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return sums


def kill_within(stage, zygote, *arguments, out):
    """Runs a command until the stage has begun, and kills it."""
    pid = zygote.start(*arguments, "--out", out)
    while not any((out / ".partial" / stage).glob("*/*")):
        os.kill(pid, 0)  # raises if it ended before
        time.sleep(0.002)
    zygote.kill(pid)
