"""A Ray cluster on this machine."""

import os
from contextlib import suppress
from pathlib import Path


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

    def busy(self):
        """A machine that has a worker."""
        parents = {parent(actor) for actor in actors()}
        return next(node for node in self.nodes if node.all_processes["raylet"][0].process.pid in parents)

    def lose(self, node):
        self._cluster.remove_node(node, allow_graceful=False)

    def engine(self, workers, report=print, mixed=False):
        from srit.pipeline.engines.ray import ray_engine

        return ray_engine(workers, report, mixed=mixed)

    def close(self):
        import ray

        ray.shutdown()
        self._cluster.shutdown()


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def actors():
    """The processes of this cluster's workers."""
    ours, found = f"SRIT_TEST_CLUSTER={os.environ['SRIT_TEST_CLUSTER']}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"ray::Actor" in (path / "cmdline").read_bytes() and ours in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found
