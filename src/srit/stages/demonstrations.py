"""problems/train.jsonl → demonstrations.jsonl: a teacher's step-by-step answers, judged."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from srit.errors import DataError
from srit.pipeline.job import NOT_THERE, UNSETTLED, Job, Stage
from srit.recipe import Demonstrations, Recipe, Student
from srit.recipe import Teacher as TeacherSettings
from srit.records import Demonstration, Problem
from srit.run_directory import Journal, Json, StageEntry, write_records
from srit.samplers import Request, SamplingSettings
from srit.students.loading import identity, load_model, load_prompts, load_room
from srit.students.prompts import prompt_text
from srit.sums import sum_of
from srit.tasks import find_task, judge
from srit.tasks.reading.turns import opens_thought, own_turn
from srit.teachers import Answer, Question, Teacher, answer_key
from srit.teachers.paid import Paid, holding, said_to
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher

_log = logging.getLogger(__name__)


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


def questions_of(problems: Iterable[Problem], limit: int | None) -> list[Question]:
    """The first `limit` problems of each task, as the teacher is asked them."""
    asked: Counter[str] = Counter()
    questions = []
    for problem in problems:
        asked[problem.task] += 1
        if limit is None or asked[problem.task] <= limit:
            questions.append(Question(problem, prompt_text(find_task(problem.task), problem, "cot")))
    return questions


def make_demonstrations(
    questions: Sequence[Question], teacher: Teacher, settings: Demonstrations, paid: Paid
) -> tuple[list[Demonstration], Counter[str], int]:
    """Demonstrations in problem order, counts of the kept and refused by reason, and of questions that are not settled.

    Args:
        paid: answers of earlier calls, which are not asked for again.

    Raises:
        DataError: no answer can be trained on.
    """
    answers = ask(questions, teacher, paid)
    made = [_judged(q.problem, answers[q.problem.id], teacher.name, settings) for q in questions]
    counts = Counter(f"{'kept' if d.kept else 'refused'}: {d.reason}" for d in made)
    if not any(d.kept for d in made):
        reasons = "; ".join(f"{reason} ({n} times)" for reason, n in counts.most_common(3))
        raise DataError(f"none of the {len(made)} demonstrations can be trained on: {reasons}")
    return made, counts, sum(not answers[q.problem.id].settled for q in questions)


def ask(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> dict[str, Answer]:
    """The teacher's answers by problem: those that hold, and of the others what it says now."""
    keys = {q.problem.id: answer_key(teacher.identity, q.prompt) for q in questions}
    answers, waiting = {}, []
    for question in questions:
        said = said_to(question, teacher, paid)
        if (known := holding(said, teacher.max_tokens)) is not None:
            answers[question.problem.id] = known
        elif said and keys[question.problem.id] in paid.in_vain:
            answers[question.problem.id] = said[-1]
        else:
            waiting.append(question._replace(failed_before=any(not answer.settled for answer in said)))
    with closing(teacher.answer(waiting)) as arriving:
        for answer in arriving:
            key = keys[answer.problem_id]
            paid.keep(key, answer)
            if not answer.settled:
                paid.in_vain.add(key)
            answers[answer.problem_id] = answer
    return answers


def spent_on(questions: Iterable[Question], teacher: Teacher, paid: Paid) -> dict[str, int]:
    """Requests and tokens that a set of questions ever took, those without an answer included."""
    prompts = {question.prompt: question for question in questions}
    said = [answer for question in prompts.values() for answer in said_to(question, teacher, paid)]
    return {name: sum(getattr(answer, name) for answer in said) for name in _SPENT}


_SPENT = ("n_calls", "n_prompt_tokens", "n_completion_tokens")


def _judged(problem: Problem, answer: Answer, teacher: str, settings: Demonstrations) -> Demonstration:
    """What of an answer is trained on, and whether it is: nothing after the answer's own end is."""
    if answer.text is None:
        return Demonstration(problem.id, problem.task, teacher, "", None, "unread", False, answer.reason)
    text, open_thought = _own_text(answer.text, problem.question)
    judgment = judge(find_task(problem.task), problem, text)
    unfit = _unfit(text, open_thought=open_thought)
    return Demonstration(
        problem_id=problem.id,
        task=problem.task,
        teacher=teacher,
        text=text,
        answer=judgment.answer,
        verdict=judgment.verdict,
        kept=not unfit and (settings.keep == "all" or judgment.verdict == "right"),
        reason=unfit or judgment.verdict,
    )


# Tokens by which models of any family begin and end a turn, where a server wrote them out.
_TOKEN = re.compile(
    r"<\|[^|<>\n]{2,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|eot|eom|eod|end|endoftext|im_start|im_end)>|"
    r"</?(?:start|end)_of_(?:turn|text|sentence|utterance|role)>|\[/?(?:INST|BOS|EOS|PAD)\]|<</?SYS>>",
    re.IGNORECASE,
)
_OPENINGS = re.compile(rf"\A(?:\s*(?:{_TOKEN.pattern})(?:(?:assistant|model)\b\s*)?)+", re.IGNORECASE)


def _own_text(text: str, question: str) -> tuple[str, bool]:
    """What a teacher wrote in its own turn, thoughts included, and whether its last thought is open.

    Thoughts that are marked by tokens of its family are left out: a student would learn to spell them. So are those
    whose beginning a server cut off: a student would close what it never opened.
    """
    turn = own_turn(text, question)
    own = _OPENINGS.sub("", text[: turn.end])
    headless = turn.start > 0 and not opens_thought(text[: turn.start])
    return (text[turn.start : turn.end] if headless or _TOKEN.search(own) else own).strip(), turn.open_thought


def _unfit(text: str, *, open_thought: bool) -> str:
    """Why nobody should learn a text, whatever it answers; "" if there is nothing against it."""
    if open_thought:
        return "its thought never ends"
    if not text:
        return "it says nothing"
    if token := _TOKEN.search(text):
        return f"it spells out a token ({token[0]})"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it holds half a surrogate pair, which no tokenizer takes"
    return ""
