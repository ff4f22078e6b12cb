"""A model and evaluation problems → predictions/: greedy answers, each with the span it was read from."""

from __future__ import annotations

from collections.abc import Sequence

from srit.prompts import Prompts, prompt_text
from srit.records import Prediction, Problem, PromptKind
from srit.samplers import Request, Sampled
from srit.tasks import find_task, judge


def make_requests(problems: Sequence[Problem], kinds: Sequence[PromptKind], prompts: Prompts) -> list[Request]:
    """One greedy answer for each problem and kind of prompt; greedy answers need no seed."""
    return [
        Request(prompts.prompt_ids(prompt_text(find_task(problem.task), problem, kind), where=problem.id), "")
        for problem in problems
        for kind in kinds
    ]


def make_predictions(
    problems: Sequence[Problem], kinds: Sequence[PromptKind], sampled: Sequence[Sampled], prompts: Prompts
) -> list[Prediction]:
    """The answers to `make_requests`, judged."""
    wanted = [(problem, kind) for problem in problems for kind in kinds]
    return [_judged(*one, answer, prompts) for one, answer in zip(wanted, sampled, strict=True)]


def _judged(problem: Problem, kind: PromptKind, answer: Sampled, prompts: Prompts) -> Prediction:
    text = prompts.text(answer.token_ids)
    judgment = judge(find_task(problem.task), problem, text)
    return Prediction(
        problem_id=problem.id,
        task=problem.task,
        prompt=kind,
        index=0,
        text=text,
        n_tokens=len(answer.token_ids),
        truncated=answer.truncated,
        answer=judgment.answer,
        span=judgment.span,
        reason=judgment.reason,
        verdict=judgment.verdict,
    )
