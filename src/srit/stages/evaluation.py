"""The stages that compare: whether a round is accepted, every model's predictions, results."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srit.intervals import compare
from srit.pipeline.job import SAMPLES, SCORES, Evaluated, Job, Stage, evaluated, rounds_of, start_inputs, start_of
from srit.recipe import Recipe, TaskUse
from srit.records import Model, OptionScores, Prediction, Problem
from srit.run_directory import Json, read_records, write_json, write_records
from srit.samplers import SamplingSettings
from srit.scores import Results
from srit.stages.demonstrations import ask, questions_of, spent_on
from srit.stages.predictions import judged, make_predictions
from srit.stages.predictions import make_requests as make_evaluation_requests
from srit.stages.results import (
    BASE,
    INSTRUCTED,
    OPTIONS,
    TEACHER,
    make_results,
    option_rows,
    over_domain,
    write_results,
)
from srit.stages.teaching import asked_again, paid_answers, teacher_of, teacher_settings, teacher_sources
from srit.tasks import find_task
from srit.teachers import Answer

AGAIN = "instructed-again"  # the instructed model, evaluated in other batches
MOST_CUT = 0.05  # of a model's answers
NOISE = 0.05  # a round is refused when it is worse than its start with p below this


def models(recipe: Recipe) -> dict[str, str]:
    """Evaluated models of the run and their folders; "base" is the student itself."""
    again = {AGAIN: "instructed"} if recipe.evaluate.noise_floor else {}
    rounds = {f"refined-{n}" if n < recipe.rounds else "refined": f"round-{n}/refined" for n in rounds_of(recipe)}
    controls = {f"control-{name}": f"controls/{name}" for name in recipe.controls}
    return {"base": "base", "instructed": "instructed", **again, **rounds, **controls}


def accepted_stage(recipe: Recipe, number: int) -> Stage:
    """A round's refined model → whether it is built upon, by the dev problems."""
    name = f"round-{number}/accepted"
    settings = {
        "accept": recipe.refine.accept,
        **recipe.evaluate.model_dump(include={"max_new_tokens", "stop"}),
        **recipe.model_dump(include={"sampler", "rows"}),
        **_computed(recipe),
    }
    inputs = ("problems/dev.jsonl", f"round-{number}/refined", *start_inputs(number))

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        return _make_accepted(job, partial, number)

    return Stage(name, 2, settings, inputs, (f"{name}.json",), make, computes=SAMPLES)


def _make_accepted(job: Job, partial: Path, number: int) -> Mapping[str, Json]:
    dev = job.problems("dev")
    decided: dict[str, Json] = {"accepted": True, "n": len(dev)}
    if dev and job.recipe.refine.accept == "better":
        before, after = (
            [
                p.verdict == "right"
                for p in _answers(job, model, dev, ("cot",), partial / label, f"round-{number}/dev", job.recipe.rows)
            ]
            for label, model in (("before", start_of(job, number)), ("after", f"round-{number}/refined"))
        )
        result = compare(after, before, seed=job.recipe.seed)
        worse = result.delta < 0 and result.p < NOISE
        decided |= {"accepted": not worse, "delta": result.delta, "p": result.p}
        decided |= {"before": sum(before) / len(dev), "after": sum(after) / len(dev)}
    write_json(job.run.path(f"round-{number}/accepted.json"), decided)
    return decided


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
        **recipe.model_dump(mode="json", include={"sampler"}),
        "rows": rows,
        **_computed(recipe),
    }
    problems = f"problems/evaluate-{task.place}.jsonl"
    inputs = (problems,) if model == "base" else (problems, folder)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        found = job.problems(f"evaluate-{task.place}")[:limit]
        evaluate = job.recipe.evaluate
        predictions = _answers(job, folder, found, evaluate.prompts, partial / "greedy", name, rows)
        if evaluate.pass_at:
            drawn = _settings(job, evaluate.temperature)
            several = range(1, evaluate.samples + 1)
            path = partial / "drawn"
            predictions += _predicted(job, folder, found, evaluate.prompts, several, drawn, path, name, rows)
        write_records(job.run.path(f"{name}.jsonl"), predictions)
        return Counter(f"{p.prompt}: {p.verdict}" for p in predictions if p.index == 0)

    # One round's refined model is another run's "refined-1", and a task's place may differ: the same work, other names.
    return Stage(name, 2, settings, inputs, (f"{name}.jsonl",), make, work="predictions", computes=SAMPLES)


def _computed(recipe: Recipe) -> dict[str, Json]:
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


def _answers(
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
    requests = make_evaluation_requests(problems, kinds, job.prompts, indices, f"{job.recipe.seed}/evaluate")
    sampled = job.sample(model, requests, settings, partial, what, rows)
    return make_predictions(problems, kinds, indices, sampled, job.prompts, settings.stop)


def scored(recipe: Recipe) -> list[tuple[str, Evaluated]]:
    """The models and tasks whose options are scored by likelihood: other batches would say nothing new."""
    if not recipe.evaluate.options:
        return []
    tasks = [task for task in evaluated(recipe) if find_task(task.use.task).has_choices]
    return [(model, task) for model in models(recipe) if model != AGAIN for task in tasks]


def predictions_file(model: str, task: Evaluated) -> str:
    """Where a model's answers to a task are kept."""
    return f"predictions/{model}/{task.place}.jsonl"


def options_file(model: str, task: Evaluated) -> str:
    """Where the scores of a model's options are kept."""
    return f"predictions/{model}/{task.place}{OPTIONS}.jsonl"


def options_stage(recipe: Recipe, model: str, folder: str, task: Evaluated) -> Stage:
    """A task's evaluation problems → how likely one model finds each of their options."""
    name = options_file(model, task).removesuffix(".jsonl")
    settings = {"prompts": list(recipe.evaluate.prompts), **_computed(recipe)}
    problems = f"problems/evaluate-{task.place}.jsonl"
    inputs = (problems,) if model == "base" else (problems, folder)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        from srit.stages.options import make_options, score_in_chunks

        found = [problem for problem in job.problems(f"evaluate-{task.place}") if problem.choices]
        options = make_options(found, job.recipe.evaluate.prompts, job.prompts)
        logps = score_in_chunks(
            lambda: job.scoring(folder),
            [one.group for one in options],
            rows=job.way.rows,
            partial=partial,
            progress=lambda done, total: job.progress(name, done, total),
        )
        records = [record for one, of_one in zip(options, logps, strict=True) for record in one.records(of_one)]
        write_records(job.run.path(f"{name}.jsonl"), records)
        right = Counter(f"{r.prompt}, {r.scored}: right" for r in records if r.right)
        return {"problems": len(found), **right}

    return Stage(name, 2, settings, inputs, (f"{name}.jsonl",), make, work=f"predictions{OPTIONS}", computes=SCORES)


def results_stage(recipe: Recipe) -> Stage:
    """All predictions → results.json."""
    settings: dict[str, Json] = {"train": sorted(tuned_on(recipe)), "rounds": recipe.rounds, "seed": recipe.seed}
    # Only where it is set: results of recipes that do without stay what they are.
    settings |= {"options": True} if recipe.evaluate.options else {}
    names = [predictions_file(model, task) for model, task in answered(recipe)]
    names += [options_file(model, task) for model, task in scored(recipe)]
    outputs = ("results.json",)
    return Stage("results", 2, settings, tuple(names), outputs, _make_results, uses_student=False)


def tuned_on(recipe: Recipe) -> set[str]:
    """Tasks whose problems either stage was tuned on."""
    return in_results(recipe, (*recipe.tasks.train, *recipe.tasks.refine))


def in_results(recipe: Recipe, uses: Iterable[TaskUse]) -> set[str]:
    """Names of tasks, and what the results call them where one is evaluated in several ways."""
    names = {use.task for use in uses}
    return names | {task.label for task in evaluated(recipe) if task.use.task in names}


def answered(recipe: Recipe) -> list[tuple[str, Evaluated]]:
    """The models, the teacher among them, and the tasks that they answer."""
    who = [*models(recipe), *([TEACHER] if recipe.evaluate.teacher else [])]
    return [(model, task) for model in who for task in evaluated(recipe)]


def _make_results(job: Job, partial: Path) -> Mapping[str, Json]:
    recipe = job.recipe
    rounds = {f"refined-{n}" if n < recipe.rounds else "refined": n for n in rounds_of(recipe)}
    predictions = {
        (Model.named(model, rounds.get(model, 0)), task.label): read_records(
            job.run.path(predictions_file(model, task)), Prediction
        )
        for model, task in answered(recipe)
    }
    results = make_results(predictions, tuned_on(recipe), pass_at=recipe.evaluate.pass_at, seed=recipe.seed)
    if recipe.evaluate.options:
        options = option_rows(
            (
                Model.named(model, rounds.get(model, 0)),
                [replace(scores, task=task.label) for scores in read_records(job.run.path(place), OptionScores)],
            )
            for model, task in scored(recipe)
            for place in [options_file(model, task)]
        )
        results = replace(results, options=options)
    for c in results.comparisons:
        if (c.a, c.b, c.task) == (INSTRUCTED, BASE, over_domain("in")) and c.ci95.high < 0:
            line = f"instructed is worse than base in-domain ({c.prompt} prompt): look at the demonstrations"
            job.invariant("stage 1 helped", False, line)
    checks = [job.invariant("answers end by themselves", False, line) for line in _cut(results, recipe)]
    timings = {name: float(entry.seconds) for name, entry in job.run.manifest.stages.items()}
    write_results(job.run.path("results.json"), replace(results, timings=timings, environment=environment()))
    return {"rows": len(results.rows), "invariants": checks}


def _cut(results: Results, recipe: Recipe) -> Iterator[str]:
    """Models whose accuracy says little, since their answers are longer than they may be."""
    for model in dict.fromkeys(row.model for row in results.rows):
        of_model = [row for row in results.rows if row.model == model]
        cut, n = sum(row.truncated for row in of_model), sum(row.n for row in of_model)
        limit = f"evaluate.max_new_tokens ({recipe.evaluate.max_new_tokens})"
        if model.kind == "teacher":
            limit = f"teacher.max_tokens ({getattr(recipe.teacher, 'max_tokens', None)})"
        if cut > MOST_CUT * n:
            yield f"{model}: {cut} of {n} answers were cut at {limit}: let them be longer"


def environment() -> dict[str, str]:
    """What figures depend on beside the recipe."""
    packages = ("srit", "torch", "transformers", "peft")
    return {"python": platform.python_version(), "machine": platform.machine(), **{p: version(p) for p in packages}}
