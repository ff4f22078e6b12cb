"""A model and evaluation problems → predictions/: greedy and sampled answers, each with its span."""

from __future__ import annotations

from collections.abc import Sequence

from srit.records import Prediction, Problem, PromptKind
from srit.samplers import Request, Sampled
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge


def make_requests(
    problems: Sequence[Problem], kinds: Sequence[PromptKind], prompts: Prompts, indices: range, seed: str
) -> list[Request]:
    """Answers wanted for each problem and kind of prompt.

    Args:
        indices: range(1) for the greedy answer; range(1, n + 1) for n sampled ones.
    """
    return [
        Request(prompt_ids, f"{seed}/{problem.task}/{problem.id}/{kind}/{index}")
        for problem in problems
        for kind in kinds
        for prompt_ids in [prompts.problem_ids(problem, kind)]
        for index in indices
    ]


def make_predictions(
    problems: Sequence[Problem],
    kinds: Sequence[PromptKind],
    indices: range,
    sampled: Sequence[Sampled],
    prompts: Prompts,
    stop: Sequence[str] = (),
) -> list[Prediction]:
    """The answers to `make_requests`, judged by what they say before the first `stop` text."""
    wanted = [(problem, kind, index) for problem in problems for kind in kinds for index in indices]
    return [
        judged(*one, _before(prompts.text(a.token_ids), stop), n_tokens=len(a.token_ids), truncated=a.truncated)
        for one, a in zip(wanted, sampled, strict=True)
    ]


def _before(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.index(end) for end in stop if end in text), default=len(text))]


def judged(problem: Problem, kind: PromptKind, index: int, text: str, *, n_tokens: int, truncated: bool) -> Prediction:
    """One answer and what is read from it."""
    judgment = judge(find_task(problem.task), problem, text)
    return Prediction(
        problem_id=problem.id,
        task=problem.task,
        prompt=kind,
        index=index,
        text=text,
        n_tokens=n_tokens,
        truncated=truncated,
        answer=judgment.answer,
        span=judgment.span,
        reason=judgment.reason,
        verdict=judgment.verdict,
    )
