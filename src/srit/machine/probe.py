"""Measures which of the correct ways to compute a student (`proof`, `adapters`) is fastest on this machine.

The plain way, float32 with each completion after its own copy of the prompt, is the reference: another way is used only
if it is faster and its log-probabilities differ by no more than rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from srit.compute.attention import use_attention
from srit.compute.device import CPU, Device, device_for, kind_of, total_bytes
from srit.compute.flexing import FLEX, LONG
from srit.compute.head import output_head
from srit.compute.plan import ON_CPU, Attention, ComputePlan, Precision, Rates, RowKind, Targets
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.machine.memory import budget_on_gpu, cache_bytes_of
from srit.machine.proof import Proof, prove, random_groups
from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.students.adapters import choose_targets, left_out, n_embeddings
from srit.students.loading import load_model, load_prompts, trainable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from srit.compute.model import LanguageModel

WORTH_IT = 1.2  # speedup over float32 below which float32 is used: its rounding errors are a hundred times smaller
AGREES = 0.05  # mean difference from the plain way in nats per token; in bfloat16 it is about 0.01
# Slowdown against float32 above which bfloat16 is not measured further: 1.2 to 1.8 with units for it, 8 to 38 without.
HOPELESS = 4.0
ROUNDS = 4  # through all ways in turn; the shortest time of each counts
ALIKE = 0.9  # the cosine of two tokens' weights above which they count as the same
UNUSED = 0.005  # the share of the vocabulary that has the same weights as an unused token
PROMPTS, PROMPT_TOKENS, ANSWERS, ANSWER_TOKENS = 4, 48, 4, 16
SHORT = PROMPTS * (PROMPT_TOKENS,), ANSWERS * (ANSWER_TOKENS,)
FEW = 8  # tokens of a prompt and of an answer that show whether bfloat16 is worth measuring
SAMPLED_ROWS = 64
GPU_GROUPS = 8  # times as many prompts: few tokens leave it idle, and take almost none of its memory


class Tried(NamedTuple):
    """A measured way to compute a training step."""

    seconds: float
    logps: list[float]  # of each answer, nats


def measure(student: Student) -> ComputePlan:
    """Find the correct ways to compute a student, and choose the fastest on this machine.

    Training steps are timed in each way, the ways in turn, so that other load on the machine slows all of them.
    """
    proof, targets, line, warning = _proven(student)
    proven = partial(ComputePlan, decoding=proof.decoding, proof=line, targets=targets, warning=warning)
    if device_for(student.device) == "cuda":
        return _on_gpu(student, proof, targets, proven)
    proven = partial(proven, batch_tokens=student.batch_tokens or ON_CPU.batch_tokens)
    if student.dtype != "auto":
        # Not measured: in bfloat16 the last attention is the fastest.
        attention: Attention = proof.attentions[-1] if student.dtype == "bfloat16" else "sdpa"
        return proven(student.dtype, proof.rows, line=f"{student.dtype}, as the recipe says", attention=attention)
    return choose(proven, proof.rows, *_timed(student, proof, targets))


def _on_gpu(student: Student, proof: Proof, targets: Targets, proven: Callable[..., ComputePlan]) -> ComputePlan:
    """Return the plan for a GPU: the precision that it has hardware for, and how much its memory holds."""
    low = torch.cuda.is_bf16_supported()
    auto: Precision = "bfloat16" if low else "float32"
    dtype = auto if student.dtype == "auto" else student.dtype
    reason = "what the GPU has hardware for" if student.dtype == "auto" else "as the recipe says"
    model = trainable(student.model_copy(update={"dtype": dtype}), None, targets=targets)
    groups = random_groups(n_embeddings(model), *SHORT) * GPU_GROUPS
    size, layout = sum(group.n_tokens for group in groups), layout_of(model, proof.rows)

    def step() -> int:
        [batch] = micro_batches(groups, row_tokens=size // len(groups), batch_tokens=1 << 20, layout=layout)
        torch.cat(list(logps_by_group(model, batch, groups).values())).sum().backward()  # type: ignore[no-untyped-call]
        model.zero_grad()
        return sum(rows.input_ids.numel() for rows in batch.passes)

    weights = list(model.parameters())
    n_trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    budget = budget_on_gpu(step, sum(weight.nbytes for weight in weights), n_trained)
    attention = _of_long_rows(model, proof)
    return proven(
        dtype,
        proof.rows,
        line=f"{dtype} on {torch.cuda.get_device_name(0)}, {reason}; attention of long rows by {attention}",
        attention=attention,
        device=kind_of("cuda"),
        cache_bytes=cache_bytes_of(total_bytes()),
        batch_tokens=student.batch_tokens or budget.batch_tokens,
        stored_tokens=budget.stored_tokens,
    )


def _of_long_rows(model: LanguageModel, proof: Proof) -> Attention:
    """Return the attention for long rows: block masks if they are correct, repeatable to the byte, and faster."""
    if FLEX not in proof.attentions:
        return "sdpa"
    tokens = 2 * LONG // (ANSWERS + 1)
    groups = random_groups(n_embeddings(model), 2 * (tokens,), ANSWERS * (tokens,))
    try:
        dense, flexed = tried([partial(_step, model, groups, proof.rows, name) for name in ("sdpa", FLEX)], ROUNDS)
        again = [_gradient(model, groups, FLEX) for _ in range(2)]
    except RuntimeError:  # compiled kernels need a compiler, and extra memory
        return "sdpa"
    finally:
        use_attention(model, "sdpa")
    gap = sum(abs(a - b) for a, b in zip(dense.logps, flexed.logps, strict=True)) / sum(map(_n_answer_tokens, groups))
    same = all(map(torch.equal, *again))
    return FLEX if same and gap <= AGREES and dense.seconds >= WORTH_IT * flexed.seconds else "sdpa"


def _n_answer_tokens(group: Group) -> int:
    return sum(map(len, group.completions))


def _gradient(model: LanguageModel, groups: Sequence[Group], attention: Attention) -> list[Tensor]:
    """Return the gradient of a training step."""
    use_attention(model, attention)
    _backward(model, groups, "shared")
    found = [weight.grad for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


def measure_rates(student: Student, compute_plan: ComputePlan) -> Rates:
    """Measure how fast a student is with a compute plan."""
    device: Device = "cpu" if compute_plan.device == CPU else "cuda"
    resolved = student.model_copy(update={"dtype": compute_plan.dtype, "device": device})
    model = trainable(resolved, None, targets=compute_plan.targets, attention=compute_plan.attention)
    groups = random_groups(n_embeddings(model), *SHORT)
    groups = groups if compute_plan.device == CPU else groups * GPU_GROUPS
    trained = min(one.seconds for one in tried([partial(_step, model, groups, compute_plan.rows)] * 2, 1))
    del model
    sampler = TransformersSampler(
        load_model(resolved),
        rows=SAMPLED_ROWS,
        pad_id=0,
        decoding=compute_plan.decoding,
        cache_bytes=compute_plan.cache_bytes,
    )
    prompts = [group.prompt_ids for group in groups[:PROMPTS]] * (SAMPLED_ROWS // PROMPTS)
    requests = [Request(prompt, str(index)) for index, prompt in enumerate(prompts)]
    started = time.perf_counter()
    answers = list(sampler.sample(requests, SamplingSettings(1.0, ANSWER_TOKENS, stop_ids=())))
    sampled = time.perf_counter() - started
    return Rates(
        sum(len(answer.token_ids) for answer in answers) / sampled, sum(group.n_tokens for group in groups) / trained
    )


def _proven(student: Student) -> tuple[Proof, Targets, str, str]:
    """Return the proof, the modules that get adapters, both in words, and a warning or ""."""

    def load() -> PreTrainedModel:
        return load_model(student.model_copy(update={"dtype": "float32"}))

    model = load()
    proof = prove(model, student.model)
    slow = _SLOW if proof.decoding == "whole" else ""
    if student.tuning == "full":
        return proof, "", proof.line, slow
    warning = "; ".join(filter(None, (slow, _unlearned_end(model, student))))
    loaded = iter([model])
    targets = choose_targets(lambda: next(loaded, None) or load(), student.lora, student.model)
    without = left_out(load(), targets) if targets != student.lora.target_modules else []
    return proof, targets, proof.line + (f"; no adapters on {', '.join(without)}" if without else ""), warning


_SLOW = (
    "srit cannot use this model's cache in this version of transformers: each token of an answer computes its whole "
    "text again, which takes many times as long"
)


@torch.no_grad()
def _unlearned_end(model: PreTrainedModel, student: Student) -> str:
    """Warn if the token that ends an answer was never trained, so that its weights are those of unused tokens.

    An adapter changes hidden states but not the weights of tokens, so the student would write any of those tokens.
    """
    prompts, head = load_prompts(student), output_head(model)
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


def _timed(student: Student, proof: Proof, targets: Targets) -> tuple[Tried, Tried, Mapping[Attention, Tried]]:
    """Time training steps for `choose`: `plain`, `precise` and `low`."""
    rows = proof.rows
    plain: RowKind = "separate" if rows == "shared" else rows
    students = [student.model_copy(update={"dtype": dtype}) for dtype in ("float32", "bfloat16")]
    full, low = (trainable(one, None, targets=targets) for one in students)
    groups = random_groups(n_embeddings(full), *SHORT)
    in_float32 = [partial(_step, full, groups, plain), partial(_step, full, groups, rows)]
    in_bfloat16 = [partial(_step, low, groups, rows, attention) for attention in proof.attentions]
    few = [Group(group.prompt_ids[:FEW], (group.completions[0][:FEW],)) for group in groups[:1]]
    try:
        # A few tokens first: without bfloat16 hardware, a whole step takes minutes.
        tried([partial(_step, full, few, rows), partial(_step, low, few, rows)], 1)  # maps memory, a second or two
        short, short_low = tried([partial(_step, full, few, rows), partial(_step, low, few, rows)], 2)
    except RuntimeError:  # a family that mixes float32 into its layers cannot be computed in bfloat16
        in_bfloat16 = []
    else:
        in_bfloat16 = [] if short_low.seconds > HOPELESS * short.seconds else in_bfloat16
    first, second, *others = tried([*in_float32, *in_bfloat16], ROUNDS)
    return first, second, dict(zip(proof.attentions, others, strict=False))


def choose(
    proven: Callable[..., ComputePlan],
    rows: RowKind,
    plain: Tried,
    precise: Tried,
    low: Mapping[Attention, Tried],
) -> ComputePlan:
    """Choose the fastest way that agrees with the plain one.

    Args:
        proven: makes a plan from a precision and a kind of rows, using what was proven.
        rows: the fastest kind that was proven correct.
        plain: a step in float32, each completion after its own copy of the prompt.
        precise: a step in float32 with `rows`.
        low: the same in bfloat16 by attention, "sdpa" first; empty if that was too slow to be measured, or fails.
    """
    share = precise.seconds <= plain.seconds and _gap(precise, plain) <= AGREES
    kind: RowKind = rows if rows != "shared" or share else "separate"
    summary = f"{kind} rows ({plain.seconds / precise.seconds:.1f} times as fast as separate ones)"
    if not low:
        return proven("float32", kind, line=f"float32, {summary}: bfloat16 is far slower on this machine")
    agreeing = [name for name, one in low.items() if name == "sdpa" or _gap(one, plain) <= AGREES]
    attention = min(agreeing, key=lambda name: low[name].seconds)
    speedup, gap = precise.seconds / low[attention].seconds, _gap(low[attention], plain)
    measured = f"bfloat16 is {speedup:.1f} times as fast, {gap:.3f} nats a token away from float32"
    if speedup >= WORTH_IT and gap <= AGREES:
        return proven(
            "bfloat16", kind, line=f"bfloat16, attention by {attention}, {summary}: {measured}", attention=attention
        )
    return proven("float32", kind, line=f"float32, {summary}: {measured}")


def tried(steps: Sequence[Callable[[], list[float]]], rounds: int) -> list[Tried]:
    """Take steps in turn, and return the shortest time of each and its log-probabilities."""
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


def _step(model: LanguageModel, groups: Sequence[Group], rows: RowKind, attention: Attention = "sdpa") -> list[float]:
    """Compute a training step's gradient, and return the answers' log-probabilities."""
    use_attention(model, attention)
    found = _backward(model, groups, rows)
    model.zero_grad()
    return [logp for index in range(len(groups)) for logp in found[index].tolist()]


def _backward(model: LanguageModel, groups: Sequence[Group], rows: RowKind) -> dict[int, Tensor]:
    """Add the gradient of the sum of all log-probabilities to that of the model, and return them by group."""
    size = sum(group.n_tokens for group in groups)
    layout = layout_of(model, rows)
    found: dict[int, Tensor] = {}
    for batch in micro_batches(groups, row_tokens=size // len(groups), batch_tokens=2 * size, layout=layout):
        found |= logps_by_group(model, batch, groups)
        torch.cat([found[index] for index in batch.members]).sum().backward()  # type: ignore[no-untyped-call]
    return found
