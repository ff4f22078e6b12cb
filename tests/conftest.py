import atexit
import os
import shutil
import signal
import sys
import tempfile

# Tiny models gain nothing from a second thread, and the threads of several processes slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process that a test starts would compile all of srit again

if "SRIT_CACHE" not in os.environ:  # leaves a user's own cache alone
    os.environ["SRIT_CACHE"] = tempfile.mkdtemp(prefix="srit-tests-")
    atexit.register(shutil.rmtree, os.environ["SRIT_CACHE"], ignore_errors=True)

import pytest
from machines import SomeMachines
from tiny import save_tiny_student
from zygote import Zygote

from srit.stopping import SIGNALS

# Tests send these signals. A shell without job control makes what it starts in the background ignore Ctrl-C, and nohup
# makes it ignore the loss of a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def handlers():
    """Undoes what a command that ran in this process has made of signals: an interrupted one ends it at the next."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def precision():
    """Whoever lowers the precision of products raises it again: what follows in this process would be less exact."""
    yield
    if "torch" in sys.modules:
        products = sys.modules["torch"].backends.mkldnn.matmul
        left, products.fp32_precision = products.fp32_precision, "none"
        assert left == "none"


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory):
    return save_tiny_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def cluster():
    pytest.importorskip("ray")
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "SRIT_TEST_CLUSTER": str(os.getpid()),  # by which a test knows this cluster's processes
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        machines = SomeMachines(2)
        yield machines
        machines.close()


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    """Runs srit's commands in processes of their own."""
    made = Zygote(tmp_path_factory.mktemp("zygote"))
    yield made
    made.close()
