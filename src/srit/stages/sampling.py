"""The stages between the two trainings: completions, and the pairs made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from srit.errors import TooFewPairs, TrainingError
from srit.pipeline.job import SAMPLES, Job, Stage, refine_problems, start_inputs, start_of
from srit.recipe import Recipe
from srit.records import Completion, Demonstration, Problem
from srit.run_directory import Json, read_records, write_records
from srit.samplers import SamplingSettings
from srit.stages.completions import make_completions, make_requests, probe, stop_rate
from srit.stages.pairs import make_pairs, prompts_of
from srit.students.lengths import Asked, too_long

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
    _, counts = make_pairs(problems, completions, _shown(job, problems), job.recipe.pairs, job.prompts.completion_ids)
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


def pairs_stage(recipe: Recipe, number: int) -> Stage:
    """A round's completions → its pairs.jsonl."""
    name = f"round-{number}/pairs"
    settings = recipe.model_dump(mode="json", include={"pairs"}) | {
        "chat_template": recipe.student.chat_template,
    }
    inputs = (f"problems/{refine_problems(recipe)}.jsonl", "demonstrations.jsonl", f"round-{number}/completions.jsonl")
    return Stage(name, 2, settings, inputs, (f"{name}.jsonl",), lambda job, _: _make_pairs(job, number))


def _make_pairs(job: Job, number: int) -> Mapping[str, Json]:
    problems = job.problems(refine_problems(job.recipe))
    pairs, counts = make_pairs(
        problems,
        read_records(job.run.path(f"round-{number}/completions.jsonl"), Completion),
        _shown(job, problems),
        job.recipe.pairs,
        job.prompts.completion_ids,
    )
    write_records(job.run.path(f"round-{number}/pairs.jsonl"), pairs)
    return counts


def _shown(job: Job, problems: Sequence[Problem]) -> list[Demonstration]:
    """The demonstrations of these problems that the student has room for: another task's may have the same ids."""
    wanted = {(problem.task, problem.id): problem for problem in problems}
    made = read_records(job.run.path("demonstrations.jsonl"), Demonstration)
    shown = [d for d in made if (d.task, d.problem_id) in wanted]
    if job.room is None or not job.room.hard:
        return shown
    kinds, answers = prompts_of(job.recipe.pairs.prompt), {d: len(job.prompts.completion_ids(d.text)) for d in shown}
    needs = (Asked(wanted[d.task, d.problem_id], kind, answers[d], "") for d in shown for kind in kinds)
    long = {(one.asked.problem.task, one.asked.problem.id) for one in too_long(needs, job.prompts, job.room)}
    return [d for d in shown if (d.task, d.problem_id) not in long]
