"""A crew in this process that does everything late, in another order, and dies as a chunk tells it to."""

import os
import signal
from random import Random

from srit.pipeline.engines.crew import Computing, Died, Failed, Ready

KILLED = "the nasty worker was killed by SIGKILL"


class Dead(BaseException):
    """Stands for the death of a worker."""


class NastyWorker:
    def __init__(self):
        self.computing = Computing()
        self.said = [Ready()]
        self.ended = False

    def give(self, work, item):
        assert not self.ended
        try:
            built = self.computing.build(work)
            self.said.append(built)
            if not isinstance(built, Failed):
                self.said.append(self.computing.chunk(work, item))
        except Dead:
            self.said.append(Died(KILLED))

    def end(self):
        self.ended = True


class Nasty:
    """`wait` lets some workers say one thing each, whichever."""

    def __init__(self, size):
        self.kind = {}
        self.size = size
        self._random = Random(0)

    def start(self, work, item):
        return NastyWorker()

    def wait(self, workers):
        talking = [worker for worker in workers if worker.said]
        assert talking and not any(worker.ended for worker in workers)
        some = self._random.sample(talking, self._random.randint(1, len(talking)))
        return [(worker, worker.said.pop(0)) for worker in some]


def die_in_this_process(monkeypatch):
    """Have `os.kill` of this process end the worker alone."""

    def kill(process, number):
        assert (process, number) == (os.getpid(), signal.SIGKILL)
        raise Dead

    monkeypatch.setattr(os, "kill", kill)
