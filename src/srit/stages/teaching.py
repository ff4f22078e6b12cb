"""The stages before the student: problems, and a teacher's demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from srit import problems as problem_sets
from srit.demonstrations import make_demonstrations, questions_of, spent_on
from srit.prompts import Prompts, prompt_text
from srit.recipe import Recipe, Student, TaskUse
from srit.run import Journal, Json, sha256_of, write_records
from srit.samplers import Request, SamplingSettings
from srit.stages.job import UNSETTLED, Job, Stage, slug
from srit.students import identity, load_model, load_tokenizer
from srit.tasks import find_task
from srit.teachers import Answer, Teacher
from srit.teachers.paid import Paid
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher


def problems_stage(recipe: Recipe) -> Stage:
    """The recipe's tasks → problems/."""
    refine = ["refine"] if recipe.tasks.refine else []
    names = ["train", *refine, "dev", *(f"evaluate-{slug(use.task)}" for use in recipe.tasks.evaluate)]
    settings = {"tasks": recipe.tasks.model_dump(mode="json"), "data": _data_sums(recipe.tasks.train)}
    settings["data"] |= _data_sums([*recipe.tasks.refine, *recipe.tasks.dev, *recipe.tasks.evaluate])
    outputs = tuple(f"problems/{name}.jsonl" for name in names)
    return Stage("problems", 1, settings, (), outputs, _make_problems)


def _make_problems(job: Job, partial: Path) -> Mapping[str, Json]:
    tasks = job.recipe.tasks
    train = problem_sets.load(tasks.train, "train", seed=tasks.seed)
    refine = problem_sets.load(tasks.refine, "train", seed=tasks.seed)
    dev = problem_sets.load(tasks.dev, "dev", seed=tasks.seed)
    evaluated = {use.task: problem_sets.load([use], "test", seed=tasks.seed) for use in tasks.evaluate}
    if not tasks.allow_overlap:
        problem_sets.refuse_overlap(
            [*train, *refine, *dev], [problem for found in evaluated.values() for problem in found]
        )
    for problem in (*train, *refine, *dev, *(p for found in evaluated.values() for p in found)):
        # Before anything is spent: a text with a special token could end its turn.
        job.prompts.prompt_ids(prompt_text(find_task(problem.task), problem, "cot"), where=f"problem {problem.id}")
    write_records(job.run.path("problems/train.jsonl"), train)
    if tasks.refine:
        write_records(job.run.path("problems/refine.jsonl"), refine)
    write_records(job.run.path("problems/dev.jsonl"), dev)
    for name, found in evaluated.items():
        write_records(job.run.path(f"problems/evaluate-{slug(name)}.jsonl"), found)
    return {"train": len(train), "refine": len(refine), "dev": len(dev), "evaluate": sum(map(len, evaluated.values()))}


def _data_sums(uses: Sequence[TaskUse]) -> dict[str, str]:
    return {use.task: sha256_of(Path(use.data) / use.task) for use in uses if use.data and Path(use.data).is_dir()}


def demonstrations_stage(recipe: Recipe) -> Stage:
    """Training problems → demonstrations.jsonl."""
    settings = teacher_settings(recipe) | recipe.model_dump(mode="json", include={"demonstrations"})
    inputs = ("problems/train.jsonl",)
    outputs = ("demonstrations.jsonl",)
    return Stage("demonstrations", 2, settings, inputs, outputs, _make_demonstrations, uses_student=False)


def _make_demonstrations(job: Job, partial: Path) -> Mapping[str, Json]:
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
    return Paid(answers, keep, tuple(_earlier_limits(job.run.manifest["stages"].values())), in_vain)


def _earlier_limits(entries: Iterable[Mapping[str, Json]]) -> Iterator[int]:
    for entry in entries:
        settings = entry.get("settings")
        teacher = settings.get("teacher") if isinstance(settings, dict) else None
        if isinstance(teacher, dict) and isinstance(teacher.get("max_tokens"), int):
            yield teacher["max_tokens"]


def teacher_settings(recipe: Recipe) -> dict[str, Json]:
    """All of a recipe that shapes a teacher's answers, what was recorded included."""
    recordings = [sha256_of(Path(path)) for path in recipe.teacher.paths if Path(path).is_file()]
    computed = {"dtype": recipe.student.dtype} if recipe.teacher.kind == "local" else {}
    return {
        "teacher": recipe.teacher.model_dump(mode="json", exclude={"prices"}),
        "recordings": recordings,
        **computed,
    }


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
        precision = recipe.student.dtype
        model = Student(model=teacher.model, chat_template=teacher.chat_template, dtype=precision)
        return _local_teacher(recipe, model)
    return SolverTeacher(find_task)


def _openai_teacher(job: Job) -> Teacher:
    from srit.teachers.endpoint import Endpoint
    from srit.teachers.openai import OpenAITeacher

    shaped = job.recipe.teacher.model_dump(include={field.name for field in fields(Endpoint)})
    return OpenAITeacher(Endpoint(**shaped), job.tell)


def _local_teacher(recipe: Recipe, model: Student) -> Teacher:
    from srit.samplers.transformers import TransformersSampler
    from srit.teachers.local import LocalTeacher

    prompts = Prompts(load_tokenizer(model), model.chat_template)
    sampler = TransformersSampler(load_model(model), rows=recipe.rows, pad_id=0)
    greedy = SamplingSettings(0.0, recipe.teacher.max_tokens, prompts.stop_ids)

    def complete(texts: Sequence[str]) -> Iterator[tuple[str, bool]]:
        requests = [Request(prompts.prompt_ids(text, where="a question to the teacher"), "") for text in texts]
        for answer in sampler.sample(requests, greedy):
            yield prompts.text(answer.token_ids), answer.truncated

    made_from: dict[str, object] = {"weights": identity(model), "template": model.chat_template}
    return LocalTeacher(model.model, made_from, complete, max_tokens=greedy.max_new_tokens, rows=recipe.rows)
