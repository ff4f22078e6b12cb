"""A model and problems → completions.jsonl: the student's own answers, each with its reward."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from srit.recipe import Sample
from srit.records import Completion, Problem, PromptKind
from srit.samplers import Request, Sampled
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge

PROBE_PROBLEMS = 50


def make_requests(problems: Sequence[Problem], prompts: Prompts, settings: Sample, seed: str) -> list[Request]:
    """The answers wanted: problem after problem, direct before CoT."""
    return [
        Request(prompt_ids, f"{seed}/{problem.task}/{problem.id}/{kind}/{index}")
        for problem in problems
        for kind, n in _kinds(settings)
        for prompt_ids in [prompts.problem_ids(problem, kind)]
        for index in range(n)
    ]


def make_completions(
    problems: Sequence[Problem], sampled: Sequence[Sampled], prompts: Prompts, settings: Sample
) -> list[Completion]:
    """What was drawn for `make_requests`, judged."""
    wanted = [(problem, kind, index) for problem in problems for kind, n in _kinds(settings) for index in range(n)]
    return [_judged(*one, answer, prompts) for one, answer in zip(wanted, sampled, strict=True)]


def probe(problems: Sequence[Problem], seed: str) -> list[Problem]:
    """Some problems on which to see, before all is sampled, whether pairs will come."""
    return Random(f"{seed}/probe").sample(list(problems), min(PROBE_PROBLEMS, len(problems)))


def stop_rate(completions: Sequence[Completion]) -> float:
    """The share of answers that ended by themselves."""
    return sum(not completion.truncated for completion in completions) / len(completions)


def _kinds(settings: Sample) -> tuple[tuple[PromptKind, int], ...]:
    return (("direct", settings.direct), ("cot", settings.cot))


def _judged(problem: Problem, kind: PromptKind, index: int, answer: Sampled, prompts: Prompts) -> Completion:
    text = prompts.text(answer.token_ids)
    judgment = judge(find_task(problem.task), problem, text)
    return Completion(
        problem_id=problem.id,
        task=problem.task,
        prompt=kind,
        index=index,
        text=text,
        token_ids=answer.token_ids,
        logp=answer.logp,
        # What begins another turn did not end by itself, and its tokens must not be learned as part of an answer.
        truncated=answer.truncated or not prompts.is_text(answer.token_ids),
        answer=judgment.answer,
        verdict=judgment.verdict,
        reward=float(judgment.verdict == "right"),
    )
