"""Checks whether a device computes correct numbers, and the same ones again."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srit.compute.scoring import score
from srit.gpu_check.shapes import SHAPES, random_groups, random_model, random_requests, with_adapter
from srit.machine.proof import prove
from srit.recipe import check_recipe
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler, decodings
from srit.training import CHECKPOINTS, loop
from srit.training.objective import Preference
from srit.training.preference import reference_logps, refine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from srit.compute.plan import Decoding

CLEAR = 0.2  # the spread of weights at which greedy choices are not near ties
STEPS = 6


def correctness(sizes: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Check answers, log-probabilities and training; `sizes` are proven in float32."""
    model = random_model("tiny", torch.float32, spread=CLEAR)
    yield "greedy answers are those of generate", _like_generate(model)
    yield "chunks do not depend on what came before", _chunks_alone()
    yield "sampled answers score as they were drawn", _scored_as_drawn(model)
    for size in sizes:
        proof = prove(random_model(size, torch.float32, spread=CLEAR if size == "tiny" else 0.05), size)
        fits = proof.rows == "shared" and proof.decoding == decodings(random_model("tiny", torch.float32))[0]
        said = {"rows": proof.rows, "decoding": proof.decoding, "nats a token": proof.gap}
        yield f"{size}: rows and decoding agree with the plain forward pass", {"passes": fits, **said}
    yield "a training that is killed and resumed ends in the same bits", _resumed()


def same_again() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return checksums of answers and of a training, for comparison between processes."""
    yield "answers", {"sha256": _sum_of(_sampled(_sampler("replayed"), _requests()))}
    with tempfile.TemporaryDirectory() as folder:
        yield "training", {"sha256": trained_sum(Path(folder))}


def _like_generate(model: PreTrainedModel) -> dict[str, Any]:
    """Compare greedy answers, token for token, in every way of decoding in slots."""
    requests, settings = _requests()[:24], SamplingSettings(0.0, 40, stop_ids=tuple(range(3, 512, 37)))
    expected = [_generated(model, request, settings) for request in requests]
    found: dict[str, int] = {}
    kinds: tuple[Decoding, ...] = ("replayed", "slots", "padded")
    for kind in kinds:
        answers = list(TransformersSampler(model, rows=8, pad_id=0, decoding=kind).sample(requests, settings))
        found[kind] = sum(a.token_ids != e for a, e in zip(answers, expected, strict=True))
    return {"passes": not any(found.values()), "answers": len(requests), "different": found}


@torch.inference_mode()
def _generated(model: PreTrainedModel, request: Request, settings: SamplingSettings) -> tuple[int, ...]:
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([request.prompt_ids], device=model.device)
    output: Any = model.generate(  # type: ignore[operator]
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=settings.max_new_tokens,
        eos_token_id=list(settings.stop_ids),
        pad_token_id=0,
    )
    return tuple(output[0, ids.shape[1] :].tolist())


def _requests() -> list[Request]:
    return random_requests(40, 24, SHAPES["tiny"].vocabulary, answers=2)


def _sampler(decoding: Decoding) -> TransformersSampler:
    return TransformersSampler(random_model("tiny", _low(), spread=CLEAR), rows=16, pad_id=0, decoding=decoding)


def _low() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def _sampled(sampler: TransformersSampler, requests: Sequence[Request]) -> list[Sampled]:
    return list(sampler.sample(requests, SamplingSettings(1.0, 30, stop_ids=tuple(range(3, 512, 37)))))


def _sum_of(answers: Sequence[Sampled]) -> str:
    return hashlib.sha256(repr(answers).encode()).hexdigest()[:16]


def _chunks_alone() -> dict[str, Any]:
    """Compare a chunk's answers, log-probabilities included, after other chunks and by itself."""
    first, second = _requests()[:40], _requests()[40:]
    both = _sampler("replayed")
    before = _sum_of(_sampled(both, first))
    after = _sum_of(_sampled(both, second))
    again = _sum_of(_sampled(both, first))
    alone = _sum_of(_sampled(_sampler("replayed"), second))
    return {"passes": before == again and after == alone, "sums": [before, again, after, alone]}


def _scored_as_drawn(model: PreTrainedModel) -> dict[str, Any]:
    from srit.compute.rows import Group

    requests = _requests()[:16]
    answers = _sampled(TransformersSampler(model, rows=8, pad_id=0), requests)
    groups = [Group(r.prompt_ids, (a.token_ids,)) for r, a in zip(requests, answers, strict=True)]
    scored = score(model.requires_grad_(False), groups, rows="shared")
    gaps = [abs(a.logp - s[0]) / len(a.token_ids) for a, s in zip(answers, scored, strict=True)]
    return {"passes": max(gaps) < 1e-3, "nats a token": max(gaps)}


def trained_sum(folder: Path, *, kill_after: int | None = None) -> str:
    """Train a tiny adapter on pairs, and return the sum of its weights.

    Args:
        folder: of the checkpoints.
        kill_after: this many steps the process kills itself.
    """
    torch.manual_seed(0)
    model = with_adapter(random_model("tiny", _low(), spread=CLEAR))
    groups = random_groups(8, 20, 4, 12, SHAPES["tiny"].vocabulary)
    preferences = [Preference(group, ((0, 1), (0, 2), (3, 1), (3, 2)), (0, 3)) for group in groups]
    use = [{"task": "sums"}]
    recipe = check_recipe(
        {
            "name": "check",
            "student": {"model": "tiny"},
            "tasks": {"train": use, "evaluate": use},
            "refine": {"epochs": STEPS // 2, "batch_size": 4, "nll_weight": 0.2, "learning_rate": 1e-3},
        },
        source="check",
    )

    def progress(done: int, total: int, metrics: loop.Metrics) -> None:
        if done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    reference = reference_logps(model, preferences, 256)
    with _checkpoint_after_every_step():
        refine(model, preferences, reference, recipe.refine, seed="0/check", checkpoints=folder, progress=progress)
    weights = [weight.detach().float().cpu().numpy().tobytes() for weight in model.parameters() if weight.requires_grad]
    return hashlib.sha256(b"".join(weights)).hexdigest()[:16]


@contextmanager
def _checkpoint_after_every_step() -> Iterator[None]:
    seconds, loop.CHECKPOINT_SECONDS = loop.CHECKPOINT_SECONDS, 0.0
    try:
        yield
    finally:
        loop.CHECKPOINT_SECONDS = seconds


def trained_until_killed(folder: str) -> None:
    """Train until the process kills itself, half way."""
    trained_sum(Path(folder), kill_after=STEPS // 2)


def _resumed() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as cut:
        code = "import sys; from srit.gpu_check.correctness import trained_until_killed as t; t(sys.argv[1])"
        killed = subprocess.run([sys.executable, "-c", code, cut], capture_output=True, text=True)
        kept = len(list(Path(cut).glob(CHECKPOINTS)))
        sums = [trained_sum(Path(whole)), trained_sum(Path(cut))]
        died = killed.returncode == -signal.SIGKILL
        said = "" if died else killed.stderr[-500:]
        return {"passes": died and kept > 0 and sums[0] == sums[1], "checkpoints": kept, "sums": sums, "said": said}
