import os
import sys

import pytest


class SomeMachines:
    """A Ray cluster whose machines are processes of this one, without the head computing anything."""

    def __init__(self, n):
        import ray
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * 2**20},
        )
        self.nodes = [self.add() for _ in range(n)]
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="ERROR")
        self.address = self._cluster.address

    def add(self):
        return self._cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

    def lose(self, node):
        self._cluster.remove_node(node, allow_graceful=False)

    def engine(self, workers, report=print, mixed=False):
        from srit.pipeline.engines.ray import ray_engine

        return ray_engine(workers, report, mixed=mixed)

    def close(self):
        import ray

        ray.shutdown()
        self._cluster.shutdown()


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
