"""`python -m srit.training.distributed.follower HOST PORT PARENT RANK SIZE`: a process of `StartedTrainers`."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # of prctl(2)


def _end_with(parent: int) -> None:
    """Make the kernel end this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above
        sys.exit(1)


def main() -> None:
    """Take part in a training."""
    host, *numbers = sys.argv[1:]
    port, parent, rank, size = map(int, numbers)
    _end_with(parent)
    # As in the leading process, which reports them (`cli.ends`).
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    import torch
    import torch.distributed as dist

    from srit.training.distributed.meeting import follow
    from srit.training.distributed.started import fault_key

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    store = dist.TCPStore(host, port, is_master=False)  # type: ignore[attr-defined]
    try:
        follow(store, rank, size, str(rank))
    except Exception as error:
        with suppress(RuntimeError):  # the leading process is gone
            store.set(fault_key(rank), f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
