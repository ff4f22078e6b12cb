"""The stages before the student: problems, and a teacher's demonstrations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from srit import problems as problem_sets
from srit.demonstrations import make_demonstrations, questions_of
from srit.errors import DataError
from srit.prompts import prompt_text
from srit.recipe import Recipe, Student, TaskUse
from srit.recipe import Teacher as TeacherSettings
from srit.records import Split
from srit.run import Journal, Json, write_records
from srit.samplers import Request, SamplingSettings
from srit.stages.job import NOT_THERE, Job, Stage, evaluated
from srit.students import identity, load_model, load_prompts, load_room
from srit.sums import sum_of
from srit.tasks import find_task
from srit.teachers import Answer, Teacher, answer_key
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher

_log = logging.getLogger(__name__)


def problems_stage(recipe: Recipe) -> Stage:
    """The recipe's tasks → problems/."""
    outputs = tuple(f"problems/{name}.jsonl" for name, _, _ in _sides(recipe))
    settings = {"tasks": recipe.tasks.model_dump(mode="json")}
    return Stage("problems", 2, settings, (), outputs, _make_problems, sources=lambda: _problem_sources(recipe))


def _sides(recipe: Recipe) -> Iterator[tuple[str, Sequence[TaskUse], Split]]:
    """The files of problems, whose problems they are, and of which split."""
    yield "train", recipe.tasks.train, "train"
    if recipe.tasks.refine:
        yield "refine", recipe.tasks.refine, "train"
    yield "dev", recipe.tasks.dev, "dev"
    for task in evaluated(recipe):
        yield f"evaluate-{task.place}", [task.use], "test"


def _problem_sources(recipe: Recipe) -> dict[str, Json]:
    """What each file of problems is made of."""
    return {
        f"problems/{name}.jsonl": {
            "seed": recipe.tasks.seed,
            "uses": [use.model_dump(mode="json") for use in uses],
            "data": {_place_of(use): _source_of(use, split) for use in uses},
        }
        for name, uses, split in _sides(recipe)
    }


def _place_of(use: TaskUse) -> str:
    return f"{use.task} in {use.data}" if use.data else use.task


def _source_of(use: TaskUse, split: Split) -> str:
    try:
        return find_task(use.task).source(split, data=Path(use.data) if use.data else None)
    except DataError:
        return NOT_THERE  # the stage tells of it in full


def _make_problems(job: Job, partial: Path) -> Mapping[str, Json]:
    tasks = job.recipe.tasks
    train = problem_sets.load(tasks.train, "train", seed=tasks.seed)
    refine = problem_sets.load(tasks.refine, "train", seed=tasks.seed)
    problem_sets.refuse_namesakes(train, refine)
    dev = problem_sets.load(tasks.dev, "dev", seed=tasks.seed)
    test = {task.place: problem_sets.load([task.use], "test", seed=tasks.seed) for task in evaluated(job.recipe)}
    tested = [problem for found in test.values() for problem in found]
    if not tasks.allow_overlap:
        problem_sets.refuse_overlap([*train, *refine, *dev], tested)
    for problem in (*train, *refine, *dev, *tested):
        # Before anything is spent: a text with a special token could end its turn.
        job.prompts.prompt_ids(prompt_text(find_task(problem.task), problem, "cot"), where=f"problem {problem.id}")
    write_records(job.run.path("problems/train.jsonl"), train)
    if tasks.refine:
        write_records(job.run.path("problems/refine.jsonl"), refine)
    write_records(job.run.path("problems/dev.jsonl"), dev)
    for place, found in test.items():
        write_records(job.run.path(f"problems/evaluate-{place}.jsonl"), found)
    return {"train": len(train), "refine": len(refine), "dev": len(dev), "evaluate": len(tested)}


def demonstrations_stage(recipe: Recipe) -> Stage:
    """Training problems → demonstrations.jsonl."""
    settings = teacher_settings(recipe) | recipe.model_dump(mode="json", include={"demonstrations"})
    inputs = ("problems/train.jsonl",)
    outputs = ("demonstrations.jsonl",)
    return Stage(
        "demonstrations",
        1,
        settings,
        inputs,
        outputs,
        _make_demonstrations,
        uses_student=False,
        sources=lambda: teacher_sources(recipe.teacher),
    )


def _make_demonstrations(job: Job, partial: Path) -> Mapping[str, Json]:
    job.check_lengths()
    settings = job.recipe.demonstrations
    questions = questions_of(job.problems("train"), settings.limit)
    stored, store = paid_answers(job)
    teacher = teacher_of(job.recipe)
    made, counts = make_demonstrations(questions, teacher, settings, stored, store)
    write_records(job.run.path("demonstrations.jsonl"), made)
    # The journal may hold other questions too, and those of other runs.
    keys = dict.fromkeys(answer_key(teacher.identity, question.prompt) for question in questions)
    asked = [stored[key] for key in keys if key in stored]
    return counts | {
        "n_calls": sum(answer.n_calls for answer in asked),
        "n_prompt_tokens": sum(answer.n_prompt_tokens for answer in asked),
        "n_completion_tokens": sum(answer.n_completion_tokens for answer in asked),
    }


def paid_answers(job: Job) -> tuple[dict[str, Answer], Callable[[str, Answer], None]]:
    """The teacher's answers by key, and what keeps another. They lie apart from what is made of them and from
    any fingerprint: no changed setting pays for them again."""
    journal = Journal((job.shared or job.run).folder / "teacher/answers.jsonl")
    stored = {row["key"]: Answer(**row["answer"]) for row in journal.rows}

    def store(key: str, answer: Answer) -> None:
        journal.append({"key": key, "answer": answer._asdict()})
        stored[key] = answer

    return stored, store


def teacher_settings(recipe: Recipe) -> dict[str, Json]:
    """All of a recipe that shapes a teacher's answers."""
    computed = {"dtype": recipe.student.dtype, "rows": recipe.rows} if recipe.teacher.kind == "local" else {}
    return {"teacher": recipe.teacher.model_dump(mode="json", exclude={"prices"}), **computed}


def teacher_sources(teacher: TeacherSettings) -> dict[str, Json]:
    """Sums of what a teacher's answers are read from or computed with: recordings; weights, tokenizer and template."""
    if teacher.kind == "local":
        return {f"the teacher {teacher.model}": identity(_model_of(teacher))}
    return {path: sum_of(Path(path)) if Path(path).is_file() else NOT_THERE for path in teacher.paths}


def models_of(recipe: Recipe) -> list[Student]:
    """The models that a run loads: the student, and a teacher on this machine."""
    return [recipe.student, *([_model_of(recipe.teacher)] if recipe.teacher.kind == "local" else [])]


def _model_of(teacher: TeacherSettings) -> Student:
    """A local teacher, as what loads a student takes it."""
    return Student(model=teacher.model or "", revision=teacher.revision, chat_template=teacher.chat_template)


def teacher_of(recipe: Recipe) -> Teacher:
    """The teacher that a recipe names."""
    teacher = recipe.teacher
    if teacher.kind == "recording":
        return RecordingTeacher([Path(path) for path in teacher.paths], teacher.variant)
    if teacher.kind == "openai" and teacher.model and teacher.base_url:
        from srit.teachers.openai import Endpoint, OpenAITeacher

        shaped = teacher.model_dump(
            include={"api_key_env", "temperature", "max_tokens", "concurrency", "max_calls", "max_spent_tokens"}
        )
        return OpenAITeacher(Endpoint(teacher.base_url, teacher.model, **shaped))
    if teacher.kind == "local" and teacher.model:
        return _local_teacher(recipe, _model_of(teacher).model_copy(update={"dtype": recipe.student.dtype}))
    return SolverTeacher(find_task)


def _local_teacher(recipe: Recipe, model: Student) -> Teacher:
    from srit.samplers.transformers import TransformersSampler
    from srit.teachers.local import LocalTeacher

    prompts = load_prompts(model, field="teacher.chat_template")
    for line in prompts.lines:
        _log.warning("the teacher %s: %s", model.model, line)
    sampler = TransformersSampler(load_model(model), rows=recipe.rows, pad_id=0)
    room = load_room(model)
    greedy = SamplingSettings(0.0, recipe.teacher.max_tokens, prompts.stop_ids)

    def complete(texts: Sequence[str]) -> Iterator[tuple[str, bool]]:
        requests = [Request(prompts.prompt_ids(text, where="a question to the teacher"), "") for text in texts]
        longest = max(len(request.prompt_ids) for request in requests) + greedy.max_new_tokens
        if room and room.hard and longest > room.tokens:
            raise DataError(
                f"teacher.model: {model.model} has positions for {room.tokens} tokens, and a question with "
                f"teacher.max_tokens ({greedy.max_new_tokens}) takes {longest}: lower it, or take another teacher"
            )
        for answer in sampler.sample(requests, greedy):
            yield prompts.text(answer.token_ids), answer.truncated

    made_from: dict[str, object] = {
        "weights": identity(model),
        "template": model.chat_template,
        "dtype": model.dtype,
        "max_tokens": greedy.max_new_tokens,
    }
    return LocalTeacher(model.model, made_from, complete, rows=recipe.rows)
