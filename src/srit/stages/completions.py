"""A model and problems → completions.jsonl: the student's own answers, each with its reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from srit.compared import refine_problems
from srit.errors import TooFewPairs, TrainingError
from srit.pipeline.job import SAMPLES, Job, Stage
from srit.recipe import Recipe, Sample
from srit.records import Completion, Problem, PromptKind
from srit.run_directory import Json, write_records
from srit.samplers import Request, Sampled, SamplingSettings
from srit.stages.accepted import start_inputs, start_of
from srit.stages.pairs import demonstrations_for, make_pairs
from srit.students.prompts import Prompts, prompt_text
from srit.tasks import find_task, judge

LEAST_STOP_RATE = 0.95
LEAST_YIELD = 0.02  # of the probe's problems must give a pair
MOST_JUDGE_ERRORS = 0.03  # of the answers


def completions_stage(recipe: Recipe, number: int) -> Stage:
    """Training problems → a round's completions.jsonl."""
    settings = recipe.model_dump(mode="json", include={"seed", "sample", "student", "sampler", "rows"})
    inputs = (f"problems/{refine_problems(recipe)}.jsonl", *start_inputs(number))
    name = f"round-{number}/completions"
    outputs = (f"{name}.jsonl",)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        return _make_completions(job, partial, number)

    return Stage(name, 3, settings, inputs, outputs, make, computes=SAMPLES)


def _make_completions(job: Job, partial: Path, number: int) -> Mapping[str, Json]:
    problems, recipe = job.problems(refine_problems(job.recipe)), job.recipe
    probed = probe(problems, f"{recipe.seed}/{number}")
    rest = [problem for problem in problems if problem not in probed]
    first = _sample(job, probed, partial / "probe", number)
    _check_yield(job, probed, first)
    completions = [*first, *(_sample(job, rest, partial / "rest", number) if rest else [])]
    errors = sum(completion.verdict == "error" for completion in completions)
    if errors > MOST_JUDGE_ERRORS * len(completions):
        raise TrainingError(f"{errors} of {len(completions)} answers could not be judged: the rewards mean nothing")
    ended = stop_rate(completions)
    line = f"{ended:.1%} of the answers ended by themselves (the rest hit sample.max_new_tokens)"
    stops = job.invariant("stop rate", ended >= LEAST_STOP_RATE, line)
    order = {problem.id: index for index, problem in enumerate(problems)}
    completions.sort(key=lambda c: (order[c.problem_id], c.prompt != "direct", c.index))
    write_records(job.run.path(f"round-{number}/completions.jsonl"), completions)
    rewards = {kind: [c.reward for c in completions if c.prompt == kind] for kind in ("direct", "cot")}
    means = {f"right, {kind}": round(sum(r) / len(r), 4) for kind, r in rewards.items() if r}
    return {"completions": len(completions), "judge errors": errors, **means, "invariants": [stops]}


def _sample(job: Job, problems: Sequence[Problem], partial: Path, number: int) -> list[Completion]:
    settings = job.recipe.sample
    requests = make_requests(problems, job.prompts, settings, f"{job.recipe.seed}/sample/{number}")
    drawn = SamplingSettings(
        settings.temperature,
        settings.max_new_tokens,
        job.prompts.stop_ids,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
    )
    model = start_of(job, number)
    sampled = job.sample(model, requests, drawn, partial, f"round-{number}/completions", job.recipe.rows)
    return make_completions(problems, sampled, job.prompts, settings)


def _check_yield(job: Job, problems: Sequence[Problem], completions: Sequence[Completion]) -> None:
    _, counts = make_pairs(
        problems, completions, demonstrations_for(job, problems), job.recipe.pairs, job.prompts.completion_ids
    )
    share = counts["problems with pairs"] / len(problems)
    why = "; ".join(f"{name} ({n})" for name, n in Counter(counts).most_common() if name.startswith("none: "))
    only_pairs = not (job.recipe.refine.nll_weight and job.recipe.refine.nll_on == "right")
    if share < LEAST_YIELD and only_pairs:
        raise TooFewPairs(
            f"of {len(problems)} problems tried, {counts['problems with pairs']} give a pair: {why}. Take problems "
            "that the student has sometimes right (tasks.train), or more samples, or a higher sample.temperature"
        )
    expected = round(share * len(job.problems(refine_problems(job.recipe))))
    job.tell(f"ok   yield: about {expected} problems will give pairs" + (f"; {why}" if why else ""))


PROBE_PROBLEMS = 50


def make_requests(problems: Sequence[Problem], prompts: Prompts, settings: Sample, seed: str) -> list[Request]:
    """The answers wanted: problem after problem, direct before CoT."""
    return [
        Request(prompt_ids, f"{seed}/{problem.task}/{problem.id}/{kind}/{index}")
        for problem in problems
        for kind, n in _kinds(settings)
        for prompt_ids in [_prompt_ids(problem, kind, prompts)]
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


def _prompt_ids(problem: Problem, kind: PromptKind, prompts: Prompts) -> tuple[int, ...]:
    return prompts.prompt_ids(prompt_text(find_task(problem.task), problem, kind), where=problem.id)


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
