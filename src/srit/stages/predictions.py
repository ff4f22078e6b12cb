"""A model and evaluation problems → predictions/: greedy and sampled answers, each with the span of its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.pipeline.context import Chunks, Context, sampling
from srit.pipeline.context.teaching import teacher_settings, teacher_sources
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, n_problems, teaching, tokens_of
from srit.pipeline.stage import SAMPLES, Stage, StageName
from srit.recipe import Evaluate, Recipe
from srit.recipe.compared import Evaluated, folder_of, predictions_file, problems_file
from srit.records import Model, Prediction, Problem, PromptKind
from srit.run_directory import Json
from srit.samplers import Sampled, SamplingSettings
from srit.samplers.asked import Asked, asked, each, judging, make_requests
from srit.samplers.chunks import SamplerSource
from srit.stages.demonstrations import answered, asked_again, questions_of, spent
from srit.stages.lengths import LENGTHS
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge
from srit.teachers import Answer


def predictions_stage(recipe: Recipe, model: Model, task: Evaluated) -> Stage:
    """Declare one model's predictions for a task's evaluation problems."""
    name, folder = StageName("predictions", model=model, task=task.place), folder_of(model)
    limit = recipe.evaluate.base_limit if model.kind == "base" else None
    # In other batches, the same model's answers differ only by rounding.
    rows = recipe.rows if model.kind != "instructed-again" else max(1, recipe.rows // 3)
    other = {"teacher", "noise_floor", "options", "pairs", "base_limit"}
    shaping = recipe.evaluate.model_dump(mode="json", exclude=other)
    # Greedy answers depend neither on how samples are drawn nor on the seed, so all seeds share those of base.
    drawn = {} if recipe.evaluate.pass_at else Evaluate().model_dump(include={"samples", "temperature"})
    settings = {
        "evaluate": shaping | drawn,
        **({"limit": limit} if limit else {}),
        "seed": recipe.seed if recipe.evaluate.pass_at else None,
        **recipe.model_dump(mode="json", include={"sampler"}),
        "rows": rows,
        **computed_with(recipe),
    }
    return Stage(
        name=name,
        version=2,
        settings=settings,
        reads=("seed", *(f"evaluate.{field}" for field in shaping if field not in drawn)),
        inputs=(problems_file(task), *([folder] if folder else [])),
        outputs=(predictions_file(model, task),),
        make=lambda inputs, out, context: _make_predictions(inputs, out, context, model, task, limit, rows),
        chunks=lambda inputs, context: _chunks(inputs, context, model, task, limit, rows),
        work=lambda recipe: _work(recipe, model, task),
        # One round's refined model is another run's "refined-1", and a task's place may differ: other names.
        shared_as="predictions",
        computes=SAMPLES,
        after=(LENGTHS,),
    )


def _work(recipe: Recipe, model: Model, task: Evaluated) -> Work:
    n, most = n_problems(task.use, "test"), recipe.evaluate.max_new_tokens
    draws = len(recipe.evaluate.prompts) * (1 + (recipe.evaluate.samples if recipe.evaluate.pass_at else 0))
    if model.kind == "base":  # its answers may never end
        return Work(sampled=min(recipe.evaluate.base_limit or n, n) * draws * most, loads=1)
    return Work(sampled=round(n * draws * tokens_of(recipe, task.use, "test", most).answer), loads=1)


def computed_with(recipe: Recipe) -> dict[str, Json]:
    """Return what a model's results depend on besides its weights."""
    student = recipe.student
    return {"chat_template": student.chat_template, "dtype": student.dtype, "4 bits": student.tuning == "qlora"}


def _make_predictions(
    inputs: Inputs, out: Outputs, context: Context, model: Model, task: Evaluated, limit: int | None, rows: int
) -> Mapping[str, Json]:
    source = _source(inputs, context, model, rows)
    what = f"predictions/{model}/{task.place}"
    counts: Counter[str] = Counter()
    predictions = (
        prediction
        for kept, wanted in _wanted(inputs, task, limit).items()
        for prediction in answers(inputs.recipe, context, source, wanted, context.partial / kept, what)
    )
    out.records(predictions_file(model, task), _counted(predictions, counts))
    return counts


def _counted(predictions: Iterable[Prediction], counts: Counter[str]) -> Iterator[Prediction]:
    """Yield predictions while counting the verdicts of the greedy ones."""
    for p in predictions:
        if p.index == 0:
            counts[f"{p.prompt}: {p.verdict}"] += 1
        yield p


def _chunks(
    inputs: Inputs, context: Context, model: Model, task: Evaluated, limit: int | None, rows: int
) -> list[Chunks]:
    source = _source(inputs, context, model, rows)
    return [
        _sampling(inputs.recipe, context, source, wanted, context.partial / kept)
        for kept, wanted in _wanted(inputs, task, limit).items()
    ]


def _source(inputs: Inputs, context: Context, model: Model, rows: int) -> SamplerSource:
    folder = folder_of(model)
    return context.models.sampler(inputs.trained(folder) if folder else None, rows)


class Wanted(NamedTuple):
    """The answers that are wanted."""

    asked: Asked
    temperature: float  # 0: greedy


def _wanted(inputs: Inputs, task: Evaluated, limit: int | None) -> dict[str, Wanted]:
    """Return the answers that are wanted, by the folder of their finished chunks."""
    evaluate, problems = inputs.recipe.evaluate, inputs.filed(problems_file(task), Problem)
    problems = problems if limit is None else problems[:limit]
    greedy = Wanted(asked(problems, [(kind, range(1)) for kind in evaluate.prompts]), 0.0)
    if not evaluate.pass_at:
        return {"greedy": greedy}
    samples = range(1, evaluate.samples + 1)
    drawn = Wanted(asked(problems, [(kind, samples) for kind in evaluate.prompts]), evaluate.temperature)
    return {"greedy": greedy, "drawn": drawn}


def answers(
    recipe: Recipe, context: Context, source: SamplerSource, wanted: Wanted, kept: Path, what: str
) -> Iterator[Prediction]:
    """Draw a model's answers, and judge them one by one.

    Args:
        recipe: with the seed and the settings of the evaluation.
        kept: the folder of the finished chunks.
        what: the name of the progress.
    """
    prompts, stop = context.texts.prompts, recipe.evaluate.stop
    judged = judging(wanted.asked, lambda answer: _before(prompts.text(answer.token_ids), stop))
    sampled = context.sample(_sampling(recipe, context, source, wanted, kept), what, judged)
    return make_predictions(wanted.asked, sampled, prompts, stop)


def _sampling(recipe: Recipe, context: Context, source: SamplerSource, wanted: Wanted, kept: Path) -> Chunks:
    evaluate, prompts = recipe.evaluate, context.texts.prompts
    settings = SamplingSettings(wanted.temperature, evaluate.max_new_tokens, prompts.stop_ids, stop=evaluate.stop)
    requests = make_requests(wanted.asked, prompts, f"{recipe.seed}/evaluate")
    return sampling(source, requests, settings, kept)


def teacher_predictions_stage(recipe: Recipe, task: Evaluated) -> Stage:
    """Declare the teacher's answers to a task's evaluation problems."""
    model = Model("teacher")
    return Stage(
        name=StageName("predictions", model=model, task=task.place),
        version=2,
        settings=teacher_settings(recipe),
        reads=("prompt",),
        inputs=(problems_file(task),),
        outputs=(predictions_file(model, task),),
        make=lambda inputs, out, context: _make_teachers(inputs, out, context, task),
        work=lambda recipe: teaching(recipe, n_problems(task.use, "test")),
        uses_student=False,
        sources=lambda: teacher_sources(recipe.teacher),
    )


def _make_teachers(inputs: Inputs, out: Outputs, context: Context, task: Evaluated) -> Mapping[str, Json]:
    questions = questions_of(inputs.filed(problems_file(task), Problem), None, inputs.recipe.prompt)
    progress = context.reports.of(f"predictions/teacher/{task.place}")
    paid, teacher = context.teaching.paid(progress), context.teaching.teacher()
    counts: Counter[str] = Counter({"no answer": 0})
    unsettled: Counter[bool] = Counter()

    def predictions() -> Iterator[Prediction]:
        for question, answer in answered(questions, teacher, paid):
            prediction = _taught(question.problem, answer)
            counts[prediction.verdict] += 1
            counts["no answer"] += answer.text is None
            unsettled[not answer.settled] += 1
            yield prediction

    out.records(predictions_file(Model("teacher"), task), predictions())
    return counts | spent(questions, teacher, paid) | asked_again(unsettled[True], context.reports.report)


def _taught(problem: Problem, answer: Answer) -> Prediction:
    """Judge the teacher's answer; an unanswered question does not count as right."""
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


def make_predictions(
    wanted: Asked, sampled: Iterable[Sampled], prompts: Prompts, stop: Sequence[str] = ()
) -> Iterator[Prediction]:
    """Judge the answers to `make_requests`, one by one, by what they say before the first `stop` text."""
    return (
        judged(*one, _before(prompts.text(a.token_ids), stop), n_tokens=len(a.token_ids), truncated=a.truncated)
        for one, a in zip(each(wanted), sampled, strict=True)
    )


def _before(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.index(end) for end in stop if end in text), default=len(text))]


def judged(problem: Problem, kind: PromptKind, index: int, text: str, *, n_tokens: int, truncated: bool) -> Prediction:
    """Return one answer with what is read from it."""
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
