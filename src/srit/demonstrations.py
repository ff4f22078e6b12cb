"""problems/train.jsonl → demonstrations.jsonl: a teacher's step-by-step answers, judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from srit.errors import DataError
from srit.prompts import prompt_text
from srit.recipe import Demonstrations
from srit.records import Demonstration, Problem
from srit.tasks import find_task, judge
from srit.teachers import Answer, Question, Teacher, answer_key


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
    questions: Sequence[Question],
    teacher: Teacher,
    settings: Demonstrations,
    stored: Mapping[str, Answer],
    store: Callable[[str, Answer], None],
) -> tuple[list[Demonstration], Counter[str]]:
    """Demonstrations in problem order, and how many were kept and refused by reason.

    Args:
        stored: answers of earlier calls by `answer_key`: they are not asked for again.
        store: keeps an answer under its key the moment it is there.

    Raises:
        DataError: no answer can be trained on.
    """
    answers = ask(questions, teacher, stored, store)
    made = [_judged(q.problem, answers[q.problem.id], teacher.name, settings) for q in questions]
    counts = Counter(f"{'kept' if d.kept else 'refused'}: {d.reason}" for d in made)
    if not any(d.kept for d in made):
        reasons = "; ".join(f"{reason} ({n} times)" for reason, n in counts.most_common(3))
        raise DataError(f"none of the {len(made)} demonstrations can be trained on: {reasons}")
    return made, counts


def ask(
    questions: Sequence[Question],
    teacher: Teacher,
    stored: Mapping[str, Answer],
    store: Callable[[str, Answer], None],
) -> dict[str, Answer]:
    """The teacher's answers by problem; `stored` and `store` as in `make_demonstrations`."""
    keys = {q.problem.id: answer_key(teacher.identity, q.prompt) for q in questions}
    answers = {identity: stored[key] for identity, key in keys.items() if key in stored}
    for answer in teacher.answer([q for q in questions if q.problem.id not in answers]):
        if answer.settled:
            store(keys[answer.problem_id], answer)
        answers[answer.problem_id] = answer
    return answers


def _judged(problem: Problem, answer: Answer, teacher: str, settings: Demonstrations) -> Demonstration:
    if answer.text is None:
        return Demonstration(problem.id, problem.task, teacher, "", None, "unread", False, answer.reason)
    judgment = judge(find_task(problem.task), problem, answer.text)
    kept = bool(answer.text.strip()) and (settings.keep == "all" or judgment.verdict == "right")
    return Demonstration(
        problem_id=problem.id,
        task=problem.task,
        teacher=teacher,
        text=answer.text,
        answer=judgment.answer,
        verdict=judgment.verdict,
        kept=kept,
        reason=judgment.verdict,
    )
