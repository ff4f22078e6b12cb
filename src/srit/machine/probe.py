"""Which ways of computing a student are right (`proof`, `adapters`), and which of them is fastest on this machine.

The plain way, float32 with each completion after its own copy of the prompt, is the reference for the others: one is
taken only if it is faster and its log-probabilities are the same but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple

import torch

from srit.compute.attention import PRODUCTS, attend
from srit.compute.plan import Attention, ComputePlan, Rates, RowKind, Targets
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.machine.proof import Proof, prove
from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.students.adapters import choose_targets, left_out
from srit.students.loading import load_model, load_prompts, trainable

WORTH_IT = 1.2  # times as fast as float32, or float32 it is: its rounding errors are a hundred times smaller
AGREES = 0.05  # nats a token, on average, from the plain way; bfloat16 gives about 0.01
HOPELESS = 2.0  # times as slow as float32: not measured further
ROUNDS = 4  # of the ways in turn; the least time of each counts
ALIKE, UNUSED = (
    0.9,
    0.005,
)  # cosine of two tokens' weights; share of the vocabulary that lies so near to an unused token
PROMPTS, PROMPT_TOKENS, ANSWERS, ANSWER_TOKENS = 4, 48, 4, 16
FEW = 8  # tokens of a prompt and an answer that tell whether more are worth trying
SAMPLED_ROWS = 64


class Tried(NamedTuple):
    """A way that was tried."""

    seconds: float  # of a training step
    logps: list[float]  # of each answer, nats


def measure(student: Student) -> ComputePlan:
    """What is right for a student, and the fastest of it on this machine.

    A training step is taken each way, the ways in turn: what else the machine does slows them all.
    """
    proof, targets, line, warning = _proven(student)
    proven = partial(ComputePlan, decoding=proof.decoding, proof=line, targets=targets, warning=warning)
    if student.dtype != "auto":
        attention: Attention = PRODUCTS if student.dtype == "bfloat16" and proof.products else "sdpa"
        return proven(student.dtype, proof.rows, line=f"{student.dtype}, as the recipe says", attention=attention)
    if torch.cuda.is_available():
        fits = torch.cuda.is_bf16_supported()
        return proven("bfloat16" if fits else "float32", proof.rows, line="what the GPU has units for")
    return choose(proven, proof.rows, *_timed(student, proof, targets))


def time_way(student: Student, way: ComputePlan) -> Rates:
    """How fast a student is when it is computed this way."""
    resolved = student.model_copy(update={"dtype": way.dtype})
    model = trainable(resolved, None, targets=way.targets, attention=way.attention)
    groups = _groups(model.get_input_embeddings().num_embeddings)
    trained = min(one.seconds for one in tried([partial(_step, model, groups, way.rows)] * 2, 1))
    del model
    sampler = TransformersSampler(load_model(resolved), rows=SAMPLED_ROWS, pad_id=0, decoding=way.decoding)
    requests = [Request(group.prompt_ids, str(index)) for index, group in enumerate(groups * (SAMPLED_ROWS // PROMPTS))]
    started = time.perf_counter()
    answers = list(sampler.sample(requests, SamplingSettings(1.0, ANSWER_TOKENS, stop_ids=())))
    sampled = time.perf_counter() - started
    return Rates(
        sum(len(answer.token_ids) for answer in answers) / sampled, sum(group.n_tokens for group in groups) / trained
    )


def _proven(student: Student) -> tuple[Proof, Targets, str, str]:
    """The proof, the modules that take adapters, both in words, and a warning or ""."""

    def load() -> Any:
        return load_model(student.model_copy(update={"dtype": "float32"}))

    model = load()
    proof = prove(model, student.model)
    if student.tuning == "full":
        return proof, "", proof.line, ""
    warning = _unlearned_end(model, student)
    loaded = iter([model])
    targets = choose_targets(lambda: next(loaded, None) or load(), student.lora, student.model)
    without = left_out(load(), targets) if targets != student.lora.target_modules else []
    return proof, targets, proof.line + (f"; no adapters on {', '.join(without)}" if without else ""), warning


@torch.no_grad()
def _unlearned_end(model: Any, student: Student) -> str:
    """A warning where the token that ends an answer was never trained: its weights are those of the unused tokens.

    An adapter moves hidden states and no token's weights, so the student would write any of those tokens instead.
    """
    prompts, head = load_prompts(student), model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        return ""
    directions = torch.nn.functional.normalize(head.weight.float(), dim=1)
    alike = int((directions @ directions[prompts.end_of_turn_id] > ALIKE).sum()) - 1
    if alike < UNUSED * len(directions):
        return ""
    return (
        f"{prompts.ends[0]}, which ends an answer, was never trained in {student.model}: its weights are those of "
        f"{alike:,} other tokens, and adapters cannot tell them apart. Set student.chat_template to one that "
        "ends an answer with eos_token, such as 'gemma' does, or student.tuning to full"
    )


def _timed(student: Student, proof: Proof, targets: Targets) -> list[Tried]:
    """Training steps as in `choose`."""
    rows = proof.rows
    plain: RowKind = "separate" if rows == "shared" else rows
    precise = [student.model_copy(update={"dtype": dtype}) for dtype in ("float32", "bfloat16")]
    full, low = (trainable(one, None, targets=targets) for one in precise)
    groups = _groups(full.get_input_embeddings().num_embeddings)
    ways = [
        partial(_step, full, groups, plain),
        partial(_step, full, groups, rows),
        partial(_step, low, groups, rows),
        *([partial(_step, low, groups, rows, PRODUCTS)] if proof.products else []),
    ]
    few = [Group(group.prompt_ids[:FEW], (group.completions[0][:FEW],)) for group in groups[:1]]
    try:
        # A few tokens first: where there are no units for bfloat16, a whole step of it takes minutes.
        tried([partial(_step, full, few, rows), partial(_step, low, few, rows)], 1)  # maps memory, a second or two
        short, crawling = tried([partial(_step, full, few, rows), partial(_step, low, few, rows)], 2)
    except RuntimeError:  # a family that mixes float32 into its layers cannot be computed in bfloat16
        return tried(ways[:2], ROUNDS)
    return tried(ways[:2] if crawling.seconds > HOPELESS * short.seconds else ways, ROUNDS)


def choose(
    proven: Callable[..., ComputePlan],
    rows: RowKind,
    plain: Tried,
    proved: Tried,
    low: Tried | None = None,
    by_products: Tried | None = None,
) -> ComputePlan:
    """The fastest way that agrees with the plain one.

    Args:
        proven: makes a way of its precision and rows, with what was proven.
        rows: the fastest that were proven right.
        plain: a step in float32, each completion after its own copy of the prompt.
        proved: in float32, with `rows`.
        low: the same in bfloat16; None where it was too slow to be measured, or breaks.
        by_products: the same with attention as products of matrices.
    """
    together = proved.seconds <= plain.seconds and _gap(proved, plain) <= AGREES
    kind: RowKind = rows if rows != "shared" or together else "separate"
    told = f"{kind} rows ({plain.seconds / proved.seconds:.1f} times as fast as separate ones)"
    if low is None:
        return proven("float32", kind, line=f"float32, {told}: bfloat16 crawls on this machine")
    attention: Attention = "sdpa"
    if by_products and by_products.seconds < low.seconds and _gap(by_products, plain) <= AGREES:
        low, attention = by_products, PRODUCTS
    faster, gap = proved.seconds / low.seconds, _gap(low, plain)
    measured = f"bfloat16 is {faster:.1f} times as fast, {gap:.3f} nats a token away from float32"
    if faster >= WORTH_IT and gap <= AGREES:
        return proven(
            "bfloat16", kind, line=f"bfloat16, attention by {attention}, {told}: {measured}", attention=attention
        )
    return proven("float32", kind, line=f"float32, {told}: {measured}")


def tried(steps: Sequence[Callable[[], list[float]]], rounds: int) -> list[Tried]:
    """The least seconds of each step, taken in turn, and its log-probabilities."""
    found: list[Tried] = []
    for turn in range(rounds):
        for place, step in enumerate(steps):
            started = time.perf_counter()
            logps = step()
            seconds = time.perf_counter() - started
            if turn == 0:
                found.append(Tried(seconds, logps))
            found[place] = Tried(min(seconds, found[place].seconds), logps)
    return found


def _gap(some: Tried, plain: Tried) -> float:
    gaps = [abs(a - b) for a, b in zip(some.logps, plain.logps, strict=True)]
    return sum(gaps) / len(gaps) / ANSWER_TOKENS


def _groups(vocabulary: int) -> list[Group]:
    """Prompts and answers of random tokens."""
    random = Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(random.choices(range(vocabulary), k=n))

    return [Group(ids(PROMPT_TOKENS), tuple(ids(ANSWER_TOKENS) for _ in range(ANSWERS))) for _ in range(PROMPTS)]


def _step(model: Any, groups: Sequence[Group], rows: RowKind, attention: Attention = "sdpa") -> list[float]:
    """A training step's gradient; the answers' log-probabilities."""
    attend(model, attention)
    size = sum(group.n_tokens for group in groups)
    layout = layout_of(model, rows)
    found: dict[int, Any] = {}
    for batch in micro_batches(groups, row_tokens=size // len(groups), batch_tokens=2 * size, layout=layout):
        found |= logps_by_group(model, batch, groups)
        torch.cat([found[index] for index in batch.members]).sum().backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return [logp for index in range(len(groups)) for logp in found[index].tolist()]
