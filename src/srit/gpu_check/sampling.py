"""Measures how fast answers are sampled, compared with transformers' `generate` at its fastest batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from srit.compute.device import plain_writes
from srit.errors import MachineError
from srit.gpu_check.shapes import SHAPES, n_parameters, random_model, random_requests
from srit.gpu_check.timing import emptied, is_lacking_memory, timed
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Load(NamedTuple):
    """What is sampled."""

    prompt_tokens: int
    answer_tokens: int  # at most
    mean_tokens: int  # of answers that end by chance; 0: none ends before its last token
    requests: int  # for the side that is measured whole
    rows: tuple[int, ...]  # answers at once, srit
    batches: tuple[int, ...]  # answers at once, generate


# The middle of an answer of 2,048 tokens costs what its average token costs: 64 of them after 1,088 others.
LOADS = {
    "256 tokens each": Load(128, 256, 0, 512, (128, 256), (256, 512)),
    "256 tokens at most, 96 on average": Load(128, 256, 96, 1024, (256,), (512,)),
    "in the middle of 2,048 tokens": Load(1088, 64, 0, 256, (128, 256), (128, 256)),
}
TINY = {
    "8 tokens each": Load(6, 8, 0, 8, (4,), (4, 8)),
    "8 tokens at most, 3 on average": Load(6, 8, 3, 8, (4,), (4,)),
}
ANSWERS = 4  # to each prompt
FEW = 4  # tokens that are generated before time is taken

Work = Callable[[], int]  # returns how many tokens were sampled


def sampling(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure tokens per second of a model of random weights."""
    model = random_model(size, torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    for name, load in (TINY if size == "tiny" else LOADS).items():
        requests = random_requests(
            load.requests // ANSWERS, load.prompt_tokens, SHAPES[size].vocabulary, answers=ANSWERS
        )
        settings = SamplingSettings(1.0, load.answer_tokens, _stops(size, load))
        ours = fastest(load.rows, partial(_ours, model, requests, settings))
        yield f"{name}, srit", {"parameters": n_parameters(model), **ours}
        theirs = fastest(load.batches, partial(_theirs, model, requests, settings))
        yield f"{name}, generate", theirs
        yield f"{name}, ratio", {"ratio": ratio(ours, theirs)}


def ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Return how many times as fast one side is, or None if one did not fit."""
    mine, other = (float(side.get("tokens a second", 0)) for side in (ours, theirs))
    return mine / other if mine and other else None


def _stops(size: str, load: Load) -> tuple[int, ...]:
    """Return ids that end an answer: so many that it ends after the wanted mean, all tokens being about as likely."""
    n = SHAPES[size].vocabulary // load.mean_tokens if load.mean_tokens else 0
    return tuple(range(3, 3 + n))


def fastest(batches: Sequence[int], prepared: Callable[[int], Work]) -> dict[str, Any]:
    """Return the fastest of several batches, after its size; report one that does not fit into memory."""
    found: dict[str, Any] = {}
    every: dict[str, Any] = {}
    for batch in batches:
        try:
            taken = timed(prepared(batch), repeats=1, warm=False)
        except (RuntimeError, MachineError) as error:
            if isinstance(error, RuntimeError) and not is_lacking_memory(error):
                raise
            every[str(batch)] = "out of memory"
            continue
        finally:
            emptied()
        speed = taken.result / taken.seconds
        every[str(batch)] = round(speed)
        if speed > found.get("tokens a second", 0):
            found = {"tokens a second": speed, "at once": batch, "tokens": taken.result, "peak GiB": taken.peak_gib}
    return {**found, "all": every}


def _ours(model: PreTrainedModel, requests: Sequence[Request], settings: SamplingSettings, rows: int) -> Work:
    sampler = TransformersSampler(model, rows=rows, pad_id=0, decoding="replayed")
    list(sampler.sample(requests[:rows], settings))  # records the steps, once for each model in a run

    def work() -> int:
        return sum(len(answer.token_ids) for answer in sampler.sample(requests, settings))

    return work


def _theirs(model: PreTrainedModel, requests: Sequence[Request], settings: SamplingSettings, batch: int) -> Work:
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([request.prompt_ids for request in requests[:batch]], device=model.device)
    _generate(model, ids, settings, FEW)
    return lambda: _generate(model, ids, settings, settings.max_new_tokens)


@torch.inference_mode()
def _generate(model: PreTrainedModel, ids: Tensor, settings: SamplingSettings, n_tokens: int) -> int:
    """Return how many tokens `generate` samples in one batch, up to the end of each answer."""
    with plain_writes(model.device):
        output: Any = model.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=n_tokens,
            pad_token_id=0,
            **({"eos_token_id": list(settings.stop_ids)} if settings.stop_ids else {}),
        )
    return int((output[:, ids.shape[1] :] != 0).sum())  # what follows an end is 0
