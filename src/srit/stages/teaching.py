"""The stages before the student: problems, and a teacher's demonstrations."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from srit.errors import DataError
from srit.pipeline.job import NOT_THERE, UNSETTLED, Job, Stage, evaluated
from srit.recipe import Recipe, Student, TaskUse
from srit.recipe import Teacher as TeacherSettings
from srit.records import Split
from srit.run_directory import Journal, Json, StageEntry, write_records
from srit.samplers import Request, SamplingSettings
from srit.stages import problems as problem_sets
from srit.stages.demonstrations import make_demonstrations, questions_of, spent_on
from srit.students.loading import identity, load_model, load_prompts, load_room
from srit.students.prompts import prompt_text
from srit.sums import sum_of
from srit.tasks import find_task
from srit.teachers import Answer, Teacher
from srit.teachers.paid import Paid
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
        2,
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
    paid, teacher = paid_answers(job), teacher_of(job)
    made, counts, unsettled = make_demonstrations(questions, teacher, settings, paid)
    write_records(job.run.path("demonstrations.jsonl"), made)
    return counts | spent_on(questions, teacher, paid) | asked_again(job, unsettled)


def asked_again(job: Job, n: int) -> dict[str, int]:
    """The count by which a stage is known to have questions left; tells of them."""
    if not n:
        return {}
    job.tell(f"     {n} question{'s have' if n > 1 else ' has'} no answer yet: the same command asks again")
    return {UNSETTLED: n}


def paid_answers(job: Job) -> Paid:
    """The teacher's answers by key, and what keeps another. They lie apart from what is made of them and from
    any fingerprint: no changed setting pays for them again."""
    journal = Journal((job.shared or job.run).folder / "teacher/answers.jsonl")
    answers: dict[str, list[Answer]] = {}
    for row in journal.rows:
        answers.setdefault(row["key"], []).append(Answer(**row["answer"]))

    def keep(key: str, answer: Answer) -> None:
        journal.append({"key": key, "answer": answer._asdict()})
        answers.setdefault(key, []).append(answer)

    in_vain = set() if job.shared is None else job.shared.in_vain
    return Paid(answers, keep, tuple(_earlier_limits(job.run.manifest.stages.values())), in_vain)


def _earlier_limits(entries: Iterable[StageEntry]) -> Iterator[int]:
    for entry in entries:
        teacher = entry.settings.get("teacher") if isinstance(entry.settings, dict) else None
        if isinstance(teacher, dict) and isinstance(teacher.get("max_tokens"), int):
            yield teacher["max_tokens"]


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


def teacher_of(job: Job) -> Teacher:
    """The teacher that a run's recipe names; one behind a server is the same for all its stages, with what it has
    learned of the server."""
    recipe, teacher = job.recipe, job.recipe.teacher
    if teacher.kind == "recording":
        return RecordingTeacher([Path(path) for path in teacher.paths], teacher.variant)
    if teacher.kind == "openai":
        job.teacher = job.teacher or _openai_teacher(job)
        return job.teacher
    if teacher.kind == "local" and teacher.model:
        return _local_teacher(recipe, _model_of(teacher).model_copy(update={"dtype": recipe.student.dtype}))
    return SolverTeacher(find_task)


def _openai_teacher(job: Job) -> Teacher:
    from srit.teachers.endpoint import Endpoint
    from srit.teachers.openai import OpenAITeacher

    shaped = job.recipe.teacher.model_dump(include={field.name for field in fields(Endpoint)})
    return OpenAITeacher(Endpoint(**shaped), job.tell)


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
    }
    return LocalTeacher(model.model, made_from, complete, max_tokens=greedy.max_new_tokens, rows=recipe.rows)
