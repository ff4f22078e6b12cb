"""Many answers in fixed chunks, each committed whole: where a kill fell changes no bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from srit.run_directory import write_json
from srit.samplers import Request, Sampled, Sampler, SamplingSettings


def sample_in_chunks(
    sampler: Callable[[], Sampler],
    requests: Sequence[Request],
    settings: SamplingSettings,
    *,
    size: int,
    partial: Path,
    progress: Callable[[int, int], None],
) -> list[Sampled]:
    """One answer for each request, in their order; chunks that are there already are not made again.

    Args:
        sampler: called only where a chunk is missing: a model need not be loaded to find nothing to do.
        size: answers in a chunk; neighbors, since the prompts of a task begin alike and are alike in length.
        partial: folder for the chunks.
    """
    answers: list[Sampled] = []
    for start in range(0, len(requests), size):
        members = requests[start : start + size]
        path = partial / f"chunk-{start // size:05d}-{_digest(members)}.json"
        if not path.exists():
            made = sampler().sample(members, settings)
            write_json(path, [[answer.token_ids, answer.logp, answer.truncated] for answer in made])
        for token_ids, logp, truncated in json.loads(path.read_bytes()):
            answers.append(Sampled(tuple(token_ids), logp, truncated))
        progress(len(answers), len(requests))
    return answers


def _digest(requests: Sequence[Request]) -> str:
    return hashlib.sha256(json.dumps(requests).encode()).hexdigest()[:16]
