"""Measure how threads should wait: python bench/waiting.py [ROUNDS [BUSY …]]

Seconds for 128 answers of 24 tokens and for four gradients of 160 tokens with the embedded student, next to each number
of busy processes, if OpenMP's threads sleep, spin as srit lets them (`srit.threads`), or spin as libgomp does by
itself. Every measurement is a process of its own; the ways take turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

from srit.threads import SLEEPS, SPINS

WAYS: Mapping[str, Mapping[str, str]] = {
    "sleeping": SLEEPS,
    "spinning": SPINS,
    "libgomp's own": {"GOMP_SPINCOUNT": "300000"},
}
PATIENCE = 600  # seconds


def main(rounds: int, busy: list[int]) -> None:
    undecided = {name: value for name, value in os.environ.items() if name not in {*SPINS, *SLEEPS}}
    for n in busy:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        with _occupied(n):
            for _ in range(rounds):
                for name, variables in WAYS.items():
                    done = subprocess.run(
                        [sys.executable, __file__, "measure"],
                        env={**undecided, **variables},
                        stdout=subprocess.PIPE,
                        timeout=PATIENCE,
                        check=True,
                    )
                    found[name].append(tuple(json.loads(done.stdout)))
        for name, pairs in found.items():
            sampling, training = (
                f"{median(of):.1f} s ({min(of):.1f} to {max(of):.1f})" for of in zip(*pairs, strict=True)
            )
            print(f"{n} busy, {name}: answers {sampling}, gradients {training}", flush=True)


@contextmanager
def _occupied(n: int) -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def measure() -> None:
    import torch

    from srit.recipe import Student
    from srit.samplers import Request, SamplingSettings
    from srit.samplers.transformers.engine import TransformersSampler
    from srit.students.loading import load_model, trainable

    student = Student(model="smollm2-135m-instruct", dtype="bfloat16")
    prompt = tuple(range(100, 150))
    sampler = TransformersSampler(load_model(student), rows=128, pad_id=0)
    model = trainable(student, None)
    ids = torch.tensor([range(100, 260)])

    def sampled() -> None:
        list(sampler.sample([Request(prompt, f"seed {n}") for n in range(128)], SamplingSettings(1.0, 24, stop_ids=())))

    def trained() -> None:
        for _ in range(4):
            model(input_ids=ids, labels=ids).loss.backward()

    print(json.dumps([_seconds(sampled), _seconds(trained)]))


def _seconds(work: Callable[[], None]) -> float:
    work()  # maps the memory
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        measure()
    else:
        rounds, *busy = [int(number) for number in sys.argv[1:]] or [3]
        main(rounds, busy or [0, 1])
