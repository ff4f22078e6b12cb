"""A model and evaluation problems → predictions/: greedy and sampled answers, each with its span."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srit.compared import AGAIN, TEACHER, Evaluated
from srit.pipeline.job import SAMPLES, Job, Stage
from srit.recipe import Recipe
from srit.records import Prediction, Problem, PromptKind
from srit.run_directory import Json, write_records
from srit.samplers import Request, Sampled, SamplingSettings
from srit.stages.demonstrations import (
    ask,
    asked_again,
    paid_answers,
    questions_of,
    spent_on,
    teacher_of,
    teacher_settings,
    teacher_sources,
)
from srit.students.prompts import Prompts, prompt_text
from srit.tasks import find_task, judge
from srit.teachers import Answer


def predictions_stage(recipe: Recipe, model: str, folder: str, task: Evaluated) -> Stage:
    """A task's evaluation problems → one model's predictions."""
    name = f"predictions/{model}/{task.place}"
    limit = recipe.evaluate.base_limit if model == "base" else None
    rows = recipe.rows if model != AGAIN else max(1, recipe.rows // 3)
    # The seed draws samples; greedy answers owe nothing to it, so that all seeds share those of base.
    settings = {
        "evaluate": recipe.evaluate.model_dump(
            mode="json", exclude={"teacher", "noise_floor", "options", "base_limit"}
        ),
        **({"limit": limit} if limit else {}),
        "seed": recipe.seed if recipe.evaluate.pass_at else None,
        "sampler": recipe.sampler,
        "rows": rows,
        **computed_by(recipe),
    }
    problems = f"problems/evaluate-{task.place}.jsonl"
    inputs = (problems,) if model == "base" else (problems, folder)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        found = job.problems(f"evaluate-{task.place}")[:limit]
        evaluate = job.recipe.evaluate
        predictions = greedy_answers(job, folder, found, evaluate.prompts, partial / "greedy", name, rows)
        if evaluate.pass_at:
            drawn = _settings(job, evaluate.temperature)
            several = range(1, evaluate.samples + 1)
            path = partial / "drawn"
            predictions += _predicted(job, folder, found, evaluate.prompts, several, drawn, path, name, rows)
        write_records(job.run.path(f"{name}.jsonl"), predictions)
        return Counter(f"{p.prompt}: {p.verdict}" for p in predictions if p.index == 0)

    # One round's refined model is another run's "refined-1", and a task's place may differ: the same work, other names.
    return Stage(name, 2, settings, inputs, (f"{name}.jsonl",), make, work="predictions", computes=SAMPLES)


def computed_by(recipe: Recipe) -> dict[str, Json]:
    """What the numbers of a model hang on, beside its weights."""
    student = recipe.student
    return {"chat_template": student.chat_template, "dtype": student.dtype, "4 bits": student.tuning == "qlora"}


def teacher_predictions_stage(recipe: Recipe, task: Evaluated) -> Stage:
    """A task's evaluation problems → the teacher's answers."""
    name = f"predictions/{TEACHER}/{task.place}"
    problems = f"problems/evaluate-{task.place}.jsonl"

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        questions = questions_of(job.problems(f"evaluate-{task.place}"), None)
        paid, teacher = paid_answers(job), teacher_of(job)
        answers = ask(questions, teacher, paid)
        predictions = [_taught(q.problem, answers[q.problem.id]) for q in questions]
        write_records(job.run.path(f"{name}.jsonl"), predictions)
        found = [answers[q.problem.id] for q in questions]
        counts = Counter(p.verdict for p in predictions) | {"no answer": sum(a.text is None for a in found)}
        return counts | spent_on(questions, teacher, paid) | asked_again(job, sum(not a.settled for a in found))

    settings, outputs = teacher_settings(recipe), (f"{name}.jsonl",)

    def sources() -> dict[str, Json]:
        return teacher_sources(recipe.teacher)

    return Stage(name, 2, settings, (problems,), outputs, make, uses_student=False, sources=sources)


def _taught(problem: Problem, answer: Answer) -> Prediction:
    """The teacher's answer as it is judged; a question that it did not answer is one that it has not right."""
    if answer.text is not None:
        return judged(problem, "cot", 0, answer.text, n_tokens=answer.n_completion_tokens, truncated=False)
    return Prediction(
        problem_id=problem.id,
        task=problem.task,
        prompt="cot",
        index=0,
        text="",
        n_tokens=answer.n_completion_tokens,
        truncated=answer.cut,
        answer=None,
        span=None,
        reason=answer.reason,
        verdict="unread",
    )


def greedy_answers(
    job: Job, model: str, problems: Sequence[Problem], kinds: Sequence[Any], partial: Path, what: str, rows: int
) -> list[Prediction]:
    """Greedy answers."""
    return _predicted(job, model, problems, kinds, range(1), _settings(job, 0.0), partial, what, rows)


def _settings(job: Job, temperature: float) -> SamplingSettings:
    evaluate = job.recipe.evaluate
    return SamplingSettings(temperature, evaluate.max_new_tokens, job.prompts.stop_ids, stop=evaluate.stop)


def _predicted(
    job: Job,
    model: str,
    problems: Sequence[Problem],
    kinds: Sequence[Any],
    indices: range,
    settings: SamplingSettings,
    partial: Path,
    what: str,
    rows: int,
) -> list[Prediction]:
    requests = make_requests(problems, kinds, job.prompts, indices, f"{job.recipe.seed}/evaluate")
    sampled = job.sample(model, requests, settings, partial, what, rows)
    return make_predictions(problems, kinds, indices, sampled, job.prompts, settings.stop)


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
        for prompt_ids in [
            prompts.prompt_ids(prompt_text(find_task(problem.task), problem, kind), where=problem.id),
        ]
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
