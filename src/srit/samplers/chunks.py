"""Samples answers in fixed chunks, each committed whole, so that no kill changes the result."""

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
    """Sample one answer for each request, in order; chunks that already exist are read.

    Args:
        sampler: called only if a chunk is missing, so that no model is loaded for nothing.
        size: the number of answers in a chunk. A chunk holds neighbors, since the prompts of a task begin alike and
            have similar lengths.
        partial: the folder for the chunks.
        progress: called with the number of answers that are done and the number of requests.
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
