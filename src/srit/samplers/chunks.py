"""Many answers in fixed chunks, each committed whole: where a kill fell changes no bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from srit.run import write_json
from srit.samplers import Request, Sampled, Sampler, SamplingSettings


def sample_in_chunks(
    sampler: Callable[[], Sampler],
    requests: Sequence[Request],
    settings: SamplingSettings,
    *,
    rows: int,
    partial: Path,
    progress: Callable[[int, int], None],
) -> list[Sampled]:
    """One answer for each request, in their order; chunks that are there already are not made again.

    Args:
        sampler: called only where a chunk is missing: a model need not be loaded to find nothing to do.
        rows: answers in a chunk. Prompts of like length are put together, so little is padding.
        partial: folder for the chunks of exactly these requests.
    """
    order = sorted(range(len(requests)), key=lambda index: (len(requests[index].prompt_ids), index))
    answers: dict[int, Sampled] = {}
    for start in range(0, len(order), rows):
        members = order[start : start + rows]
        path = partial / f"chunk-{start // rows:05d}.json"
        if not path.exists():
            made = sampler().sample([requests[index] for index in members], settings)
            write_json(path, [[answer.token_ids, answer.logp, answer.truncated] for answer in made])
        for index, (token_ids, logp, truncated) in zip(members, json.loads(path.read_bytes()), strict=True):
            answers[index] = Sampled(tuple(token_ids), logp, truncated)
        progress(len(answers), len(requests))
    return [answers[index] for index in range(len(requests))]
