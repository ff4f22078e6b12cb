"""The stages before the student: problems, and a teacher's demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from srit.errors import DataError
from srit.pipeline.job import NOT_THERE, UNSETTLED, Job, Stage, evaluated
from srit.recipe import Recipe, Student, TaskUse, TeacherSettings
from srit.records import Split
from srit.run_directory import Journal, Json, StageEntry, write_records
from srit.stages import problems as problem_sets
from srit.stages.demonstrations import make_demonstrations, questions_of, spent_on
from srit.tasks import find_task
from srit.teachers import Answer, Surroundings, Teacher, teacher_kind
from srit.teachers.paid import Paid


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
        job.prompts.problem_ids(problem, "cot")
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
    kind = teacher_kind(recipe.teacher.kind)
    on_this_machine = kind.model(recipe.teacher) is not None
    computed = {"dtype": recipe.student.dtype, "rows": recipe.rows} if on_this_machine else {}
    return {"teacher": kind.shaping(recipe.teacher), **computed}


def teacher_sources(teacher: TeacherSettings) -> dict[str, Json]:
    """Sums of what a teacher's answers are read from or computed with: recordings; weights, tokenizer and template."""
    return dict(teacher_kind(teacher.kind).sources(teacher))


def models_of(recipe: Recipe) -> list[Student]:
    """The models that a run loads: the student, and a teacher on this machine."""
    teacher = teacher_kind(recipe.teacher.kind).model(recipe.teacher)
    return [recipe.student, *([] if teacher is None else [teacher])]


def teacher_of(job: Job) -> Teacher:
    """The teacher that a run's recipe names; one that is kept is the same for all its stages, with what it has
    learned."""
    if job.teacher is not None:
        return job.teacher
    settings, kind = job.recipe.teacher, teacher_kind(job.recipe.teacher.kind)
    made = kind.make(settings, Surroundings(job.recipe.student.dtype, job.recipe.rows, job.tell))
    job.teacher = made if kind.kept else None
    return made
