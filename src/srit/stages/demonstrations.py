"""problems/train.jsonl → demonstrations.jsonl: a teacher's step-by-step answers, judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.context.reports import Report
from srit.pipeline.context.teaching import samples_of, teacher_settings, teacher_sources
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import demonstrated, teaching
from srit.pipeline.stage import UNSETTLED, Stage, StageName
from srit.recipe import Demonstrations, Prompt, Recipe
from srit.records import Demonstration, Problem
from srit.run_directory import Json
from srit.stages.asked import said_to
from srit.stages.lengths import LENGTHS
from srit.students.prompts import prompt_text
from srit.tasks import find_task, judge
from srit.tasks.reading.turns import opens_thought, own_turn
from srit.teachers import Answer, Question, Teacher, answer_key
from srit.teachers.ledger import Calls
from srit.teachers.paid import Paid, earlier_answers, stored, valid_answer
from srit.watching import Said


def demonstrations_stage(recipe: Recipe) -> Stage:
    """Declare demonstrations.jsonl."""
    return Stage(
        name=StageName("demonstrations"),
        version=2,
        settings=teacher_settings(recipe) | recipe.model_dump(mode="json", include={"demonstrations"}),
        reads=("demonstrations", "prompt"),
        inputs=("problems/train.jsonl",),
        outputs=("demonstrations.jsonl",),
        make=_make_demonstrations,
        work=lambda recipe: teaching(recipe, samples_of(recipe.teacher) * sum(n for _, n in demonstrated(recipe))),
        uses_student=False,
        sources=lambda: teacher_sources(recipe.teacher),
        after=(LENGTHS,),
    )


def _make_demonstrations(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    settings = inputs.recipe.demonstrations
    questions = questions_of(inputs.records("problems/train.jsonl", Problem), settings.limit, inputs.recipe.prompt)
    paid, teacher_of = context.teaching.paid(context.reports.of("demonstrations")), context.teaching.teacher
    more = range(1, context.teaching.samples)
    # Each teacher is made in its turn: it begins with what the one before has spent.
    made, counts, unsettled = make_demonstrations(questions, teacher_of(), settings, paid, map(teacher_of, more))
    out.records("demonstrations.jsonl", made)
    costs = total_of(spent(questions, teacher_of(sample), paid) for sample in (0, *more))
    return counts | costs | asked_again(unsettled, context.reports.report)


def asked_again(n: int, report: Report) -> dict[str, int]:
    """Return the count that marks a stage with open questions, and report it."""
    if not n:
        return {}
    report(f"     {n} question{'s have' if n > 1 else ' has'} no answer yet: the same command asks again")
    return {UNSETTLED: n}


def questions_of(problems: Iterable[Problem], limit: int | None, wording: Prompt) -> list[Question]:
    """Return the first `limit` problems of each task as questions to the teacher."""
    asked: Counter[str] = Counter()
    questions = []
    for problem in problems:
        asked[problem.task] += 1
        if limit is None or asked[problem.task] <= limit:
            questions.append(Question(problem, prompt_text(problem, "cot", wording)))
    return questions


def make_demonstrations(
    questions: Sequence[Question],
    teacher: Teacher,
    settings: Demonstrations,
    paid: Paid,
    more: Iterable[Teacher] = (),
) -> tuple[list[Demonstration], Counter[str], int]:
    """Ask the teacher and judge its answers.

    Args:
        paid: answers of earlier calls, which are not asked for again.
        more: one for each further answer to every question.

    Returns:
        Demonstrations in problem order, counts of the kept and refused by reason, and how many questions are open.

    Raises:
        DataError: no answer can be trained on.
    """
    rounds = [(one, ask(questions, one, paid)) for one in chain([teacher], more)]
    made = [
        one
        for q in questions
        for one in _distinct(_judged(q.problem, said[q.problem.id], who.name, settings) for who, said in rounds)
    ]
    counts = Counter(f"{'kept' if d.kept else 'refused'}: {d.reason}" for d in made)
    if made and not any(d.kept for d in made):
        reasons = "; ".join(f"{reason} ({n} times)" for reason, n in counts.most_common(3))
        raise DataError(f"none of the {len(made)} demonstrations can be trained on: {reasons}")
    return made, counts, sum(not said[q.problem.id].settled for q in questions for _, said in rounds)


def _distinct(samples: Iterable[Demonstration]) -> Iterator[Demonstration]:
    """Yield the samples of one problem; of those with the same text, the first is kept."""
    seen: set[str] = set()
    for one in samples:
        again = one.kept and one.text in seen
        yield replace(one, kept=False, reason="another sample says the same") if again else one
        seen.add(one.text)


def ask(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> dict[str, Answer]:
    """Return the teacher's answers by problem: earlier ones that are still valid, and new ones for the others."""
    keys = {q.problem.id: answer_key(teacher.identity, q.prompt) for q in questions}
    problems = {q.problem.id: q.problem for q in questions}
    answers, waiting = {}, []
    for question in questions:
        earlier = earlier_answers(question, teacher, paid)
        if (known := valid_answer(earlier, teacher.max_tokens)) is not None:
            answers[question.problem.id] = known
        elif earlier and keys[question.problem.id] in paid.in_vain:
            answers[question.problem.id] = earlier[-1]
        else:
            waiting.append(question._replace(failed_before=any(not answer.settled for answer in earlier)))
    if waiting and paid.unreadable is not None:
        raise DataError(str(paid.unreadable))
    if answers and waiting:
        paid.report(f"     {len(answers)} of {len(questions)} questions are answered already{_maybe_paid(keys, paid)}")
    with closing(teacher.answer(waiting)) as arriving:
        for answer in stored(arriving, lambda answer: keys[answer.problem_id], paid):
            if not answer.settled:
                paid.in_vain.add(keys[answer.problem_id])
            answers[answer.problem_id] = answer
            paid.progress(len(answers), len(questions), partial(_said, problems[answer.problem_id], answer))
    return answers


def _said(problem: Problem, answer: Answer) -> Iterator[Said]:
    if answer.text is not None:
        yield said_to(problem, answer.text)


def spent(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> dict[str, Json]:
    """Return what questions took, as `spent_on`, and report what is not sure of it."""
    found = spent_on(questions, teacher, paid)
    if n := found.get("n_uncounted"):
        tokens = " + ".join(f"{found[name]:,}" for name in _TOKENS)
        paid.report(f"     at least {tokens} tokens: the server did not count those of {n} replies")
    if unknown := found.get("maybe_paid"):
        named = ", ".join([*list(unknown)[:5], *(["…"] if len(unknown) > 5 else [])])
        paid.report(f"     {found['n_maybe_paid']} calls may have been paid for without an answer: {named}")
    return found


def _maybe_paid(keys: Mapping[str, str], paid: Paid) -> str:
    n = sum(calls.maybe_paid for key in set(keys.values()) if (calls := paid.calls.get(key)))
    return f"; {n} call{'s' if n > 1 else ''} may have been paid for without an answer" if n else ""


def total_of(costs: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """Add up what `spent_on` returned."""
    total: dict[str, Json] = {}
    for cost in costs:
        for name, value in cost.items():
            known = total.get(name, {} if isinstance(value, Mapping) else 0)
            total[name] = total_of([known, value]) if isinstance(value, Mapping) else known + value
    return total


def spent_on(questions: Iterable[Question], teacher: Teacher, paid: Paid) -> dict[str, Json]:
    """Count the calls and tokens that a set of questions ever took, those without an answer included.

    The tokens are those that the server counted; `n_uncounted` answers, if there are any, came without a count.
    `maybe_paid` has the calls whose end is unknown by problem: they may have been charged.
    """
    prompts = {question.prompt: question for question in questions}
    found = [(question, earlier_answers(question, teacher, paid)) for question in prompts.values()]
    calls = {q.problem.id: paid.calls.get(answer_key(teacher.identity, q.prompt), Calls()) for q, _ in found}
    answers = [answer for _, given in found for answer in given]
    asked = sum(max(calls[q.problem.id].sent, sum(answer.n_calls for answer in given)) for q, given in found)
    spent: dict[str, Json] = {"n_calls": asked}
    spent |= {name: sum(getattr(answer, name) for answer in answers) for name in _TOKENS}
    uncounted = sum(answer.n_uncounted for answer in answers)
    unknown = {problem_id: one.maybe_paid for problem_id, one in calls.items() if one.maybe_paid}
    others = Counter(answer.model for answer in answers if answer.model)
    return spent | {
        **({"n_uncounted": uncounted} if uncounted else {}),
        **({"n_maybe_paid": sum(unknown.values()), "maybe_paid": unknown} if unknown else {}),
        **({"answered_as": dict(others)} if others else {}),
    }


_TOKENS = ("n_prompt_tokens", "n_completion_tokens")


def _judged(problem: Problem, answer: Answer, teacher: str, settings: Demonstrations) -> Demonstration:
    """Judge an answer, and decide whether it is trained on; nothing after its own end is."""
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


# Tokens that begin and end a turn in models of any family, as a server may write them out.
_TOKEN = re.compile(
    r"<\|[^|<>\n]{2,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|eot|eom|eod|end|endoftext|im_start|im_end)>|"
    r"</?(?:start|end)_of_(?:turn|text|sentence|utterance|role)>|\[/?(?:INST|BOS|EOS|PAD)\]|<</?SYS>>",
    re.IGNORECASE,
)
_OPENINGS = re.compile(rf"\A(?:\s*(?:{_TOKEN.pattern})(?:(?:assistant|model)\b\s*)?)+", re.IGNORECASE)


def _own_text(text: str, question: str) -> tuple[str, bool]:
    """Return what a teacher wrote in its own turn, thoughts included, and whether its last thought is open.

    Thoughts marked by tokens of its family are left out, since a student would learn to spell them. So are those
    whose beginning a server cut off, since a student would close what it never opened.
    """
    turn = own_turn(text, question)
    own = _OPENINGS.sub("", text[: turn.end])
    headless = turn.start > 0 and not opens_thought(text[: turn.start])
    return (text[turn.start : turn.end] if headless or _TOKEN.search(own) else own).strip(), turn.open_thought


def _unfit(text: str, *, open_thought: bool) -> str:
    """Say why a text should not be learned, whatever it answers; "" if nothing speaks against it."""
    if open_thought:
        return "its thought never ends"
    if not text:
        return "it says nothing"
    if token := _TOKEN.search(text):
        return f"it spells out a token ({token[0]})"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it holds half a surrogate pair, which no tokenizer takes"
    return ""
