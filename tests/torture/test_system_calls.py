"""What the kernel was asked for: whatever a manifest names, or a run has when it ends, was synced before.

The other tests count what Python does to files; this one also sees what compiled libraries write. It needs `strace`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from small import RECIPE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
SEEN = "openat,write,pwrite64,writev,pwritev,ftruncate,sendfile,copy_file_range,fsync,fdatasync,mkdir,rename,renameat2"
SRIT = Path(sys.executable).with_name("srit")


class Disk:
    """What a power loss could take from a folder: data of files, and names in folders."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.data, self.names = set(), set()

    def does(self, call, named, created):
        """Follow a system call.

        Args:
            named: the paths in it, in order.
            created: whether it may have made a file.
        """
        match call:
            case "openat" if not created:
                return
            case "openat" if named[-1] not in self.data and named[-1] not in self.names:
                self.names.add(named[-1])
                self.data.add(named[-1])
            case "mkdir":
                self.names.add(named[0])
            case "fsync" | "fdatasync":
                self.data.discard(named[0])
                self.names = {path for path in self.names if os.path.dirname(path) != named[0]}
            case "rename" | "renameat2":
                for kind in (self.data, self.names):
                    moved = {path for path in kind if f"{path}/".startswith(f"{named[0]}/")}
                    kind -= moved
                    kind |= {named[1] + path.removeprefix(named[0]) for path in moved}
                self.names.add(named[1])
            case _:
                self.data.add(named[-1])

    def at_risk(self):
        """What a power loss could take of all that has its name; what solvers answer costs nothing to ask again."""
        inside = {p.removeprefix(f"{self.folder}/") for p in self.data | self.names if p.startswith(self.folder)}
        free = ("teacher", "teacher/answers.jsonl")
        return sorted(p for p in inside if not re.search(r"(^|/)\.", p) and p not in free)


def calls_in(trace):
    """The name of each system call, the paths in it, and whether it may create a file, in the order of their ends."""
    begun = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid, text = line.split(maxsplit=1)
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(pid) + text[resumed.end() :]
        call, named = re.match(r"(\w+)\(", text), re.findall(r'\d+<(/[^>]*)>|"([^"]+)"', text)
        if call and named:  # others are of pipes
            yield call[1], [os.path.abspath(shown or quoted) for shown, quoted in named], "O_CREAT" in text


def test_a_manifest_names_only_what_a_power_loss_leaves(tiny_student, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, out, trace = Path("small.yaml"), tmp_path / "new/run", tmp_path / "trace"
    recipe.write_text(RECIPE.format(student=tiny_student, teacher="{kind: solver}"))
    traced = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", f"trace={SEEN}", "-e", "status=successful", "-o", trace]
    parts = ["refine.parts=2", "refine.passes=2", "controls=[]"]
    subprocess.run([*traced, SRIT, "run", recipe, *parts, "--out", out], check=True, stdout=subprocess.DEVNULL)

    disk, manifests = Disk(out), 0
    for call, named, created in calls_in(trace):
        if call.startswith("rename") and named[1] == str(out / "manifest.json"):
            assert disk.at_risk() == [], named
            manifests += 1
        disk.does(call, named, created)

    assert manifests > 20 and disk.at_risk() == []
    assert not {path for path in disk.names if path in (str(out), str(out.parent))}
