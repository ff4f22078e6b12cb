"""problems/train.jsonl → demonstrations.jsonl: a teacher's step-by-step answers, judged."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.context.reports import Report
from srit.pipeline.context.teaching import samples_of, teacher_settings, teacher_sources
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import demonstrated, teaching
from srit.pipeline.stage import UNSETTLED, Stage, StageName
from srit.recipe import Demonstrations, Recipe
from srit.recipe.wording import Prompt
from srit.records import Demonstration, Problem
from srit.run_directory import Chosen, Json, Lookup
from srit.samplers.asked import said_to
from srit.stages.lengths import LENGTHS
from srit.students.prompts import prompt_text
from srit.tasks import find_task, judge
from srit.teachers import Answer, Question, Teacher, answer_key
from srit.teachers.ledger import Calls
from srit.teachers.paid import Paid, earlier_answers, stored, valid_answer
from srit.watching import Said


def demonstrations_stage(recipe: Recipe) -> Stage:
    """Declare demonstrations.jsonl."""
    return Stage(
        name=StageName("demonstrations"),
        version=3,
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
    settings, tally, thoughts = inputs.recipe.demonstrations, Tally(), context.teaching.learns_thoughts
    questions = questions_of(inputs.filed("problems/train.jsonl", Problem), settings.limit, inputs.recipe.prompt)
    paid, teacher_of = context.teaching.paid(context.reports.of("demonstrations")), context.teaching.teacher
    more = range(1, context.teaching.samples)
    # Each teacher is made when its turn comes, since it starts from what the previous one has spent.
    made = make_demonstrations(questions, teacher_of(), settings, paid, tally, map(teacher_of, more), thoughts=thoughts)
    out.records("demonstrations.jsonl", made)
    costs = total_of(spent(questions, teacher_of(sample), paid) for sample in (0, *more))
    return tally.counts | costs | asked_again(tally.unsettled, context.reports.report)


def asked_again(n: int, report: Report) -> dict[str, int]:
    """Return the count that marks a stage with open questions, and report it."""
    if not n:
        return {}
    report(f"     {n} question{'s have' if n > 1 else ' has'} no answer yet: the same command asks again")
    return {UNSETTLED: n}


def questions_of(problems: Sequence[Problem], limit: int | None, wording: Prompt) -> Sequence[Question]:
    """Return the first `limit` problems of each task as questions to the teacher, each made when it is asked for."""

    def question(place: int) -> Question:
        problem = problems[place]
        return Question(problem, prompt_text(problem, "cot", wording))

    if limit is None:
        return Chosen(range(len(problems)), question)
    asked: Counter[str] = Counter()
    places = array("Q")
    for place, problem in enumerate(problems):
        asked[problem.task] += 1
        if asked[problem.task] <= limit:
            places.append(place)
    return Chosen(places, question)


@dataclass
class Tally:
    """Counts of demonstrations, updated as they pass."""

    counts: Counter[str] = field(default_factory=Counter)  # kept and refused, by reason
    kept: int = 0
    unsettled: int = 0  # answers still to come


def make_demonstrations(
    questions: Sequence[Question],
    teacher: Teacher,
    settings: Demonstrations,
    paid: Paid,
    tally: Tally,
    more: Iterable[Teacher] = (),
    *,
    thoughts: bool = True,
) -> Iterator[Demonstration]:
    """Ask the teacher, judge its answers, and yield the demonstrations of each question, in order.

    Args:
        paid: answers of earlier calls, which are not asked for again.
        more: one for each further answer to every question.
        thoughts: whether those in an answer are learned with it.

    Raises:
        DataError: no answer can be trained on.
    """
    teachers = [_asked(questions, one, paid) for one in chain([teacher], more)]
    n = 0
    for question in questions:
        each = (_demonstration(question, one, settings, paid, tally, thoughts=thoughts) for one in teachers)
        for made in _distinct(each):
            tally.counts[f"{'kept' if made.kept else 'refused'}: {made.reason}"] += 1
            tally.kept += made.kept
            n += 1
            yield made
    if n and not tally.kept:
        reasons = "; ".join(f"{reason} ({times} times)" for reason, times in tally.counts.most_common(3))
        raise DataError(f"none of the {n} demonstrations can be trained on: {reasons}")


def _demonstration(
    question: Question, teacher: Teacher, settings: Demonstrations, paid: Paid, tally: Tally, *, thoughts: bool
) -> Demonstration:
    answer = _held(question, teacher, paid)
    tally.unsettled += not answer.settled
    return _judged(question.problem, answer, teacher.name, settings, thoughts=thoughts)


def _distinct(samples: Iterable[Demonstration]) -> Iterator[Demonstration]:
    """Yield the samples of one problem; of those with the same text, the first is kept."""
    seen: set[str] = set()
    for one in samples:
        again = one.kept and one.text in seen
        yield replace(one, kept=False, reason="another sample says the same") if again else one
        seen.add(one.text)


def answered(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> Iterator[tuple[Question, Answer]]:
    """Ask the questions that are not answered yet, and yield each question with its answer, in order.

    Answers are stored as they arrive, and read again when their turn comes, so not all of them are in memory.
    """
    _asked(questions, teacher, paid)
    for question in questions:
        yield question, _held(question, teacher, paid)


def _asked(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> Teacher:
    """Ask a teacher the questions that have no valid earlier answer, store its answers, and return the teacher."""
    numbers, failed, ids = array("Q"), set(), Lookup()
    for number, question in enumerate(questions):
        earlier = earlier_answers(question, teacher, paid)
        if _known(question, earlier, teacher, paid) is None:
            numbers.append(number)
            ids.add(question.problem.id)
            if any(not answer.settled for answer in earlier):
                failed.add(number)
    if numbers and paid.unreadable is not None:
        raise DataError(str(paid.unreadable))
    waiting = Chosen(numbers, lambda number: questions[number]._replace(failed_before=number in failed))
    n = len(questions) - len(numbers)
    if n and waiting:
        paid.report(
            f"     {n} of {len(questions)} questions are answered already{_maybe_paid(questions, teacher, paid)}"
        )

    def key_of(answer: Answer) -> str:
        return answer_key(teacher.identity, waiting[ids.find(answer.problem_id)[0]].prompt)

    with closing(teacher.answer(waiting)) as arriving:
        for answer in stored(arriving, key_of, paid):
            if not answer.settled:
                paid.in_vain.add(key_of(answer))
            n += 1
            problem = waiting[ids.find(answer.problem_id)[0]].problem
            paid.progress(n, len(questions), partial(_said, problem, answer))
    return teacher


def _held(question: Question, teacher: Teacher, paid: Paid) -> Answer:
    """Return the answer to a question that was asked."""
    found = _known(question, earlier_answers(question, teacher, paid), teacher, paid)
    if found is None:
        raise KeyError(f"the teacher {teacher.name} left the question {question.problem.id} without an answer")
    return found


def _known(question: Question, earlier: Sequence[Answer], teacher: Teacher, paid: Paid) -> Answer | None:
    """Return the answer that holds for a question, its own before that of another with the same prompt."""
    own_first = sorted(earlier, key=lambda answer: answer.problem_id != question.problem.id)
    if (valid := valid_answer(own_first, teacher.max_tokens)) is not None:
        return valid
    in_vain = bool(earlier) and answer_key(teacher.identity, question.prompt) in paid.in_vain
    return earlier[-1] if in_vain else None


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


def _maybe_paid(questions: Sequence[Question], teacher: Teacher, paid: Paid) -> str:
    n = (
        sum(paid.calls[key].maybe_paid for _, key in _once(questions, teacher) if key in paid.calls)
        if paid.calls
        else 0
    )
    return f"; {n} call{'s' if n > 1 else ''} may have been paid for without an answer" if n else ""


def total_of(costs: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """Add up what `spent_on` returned."""
    total: dict[str, Json] = {}
    for cost in costs:
        for name, value in cost.items():
            known = total.get(name, {} if isinstance(value, Mapping) else 0)
            total[name] = total_of([known, value]) if isinstance(value, Mapping) else known + value
    return total


def _once(questions: Iterable[Question], teacher: Teacher) -> Iterator[tuple[Question, str]]:
    """Yield each prompt once, in the first question that has it, with its key."""
    seen: set[bytes] = set()
    for question in questions:
        key = answer_key(teacher.identity, question.prompt)
        if (short := bytes.fromhex(key)[:16]) not in seen:
            seen.add(short)
            yield question, key


def spent_on(questions: Iterable[Question], teacher: Teacher, paid: Paid) -> dict[str, Json]:
    """Count the calls and tokens that a set of questions ever took, those without an answer included.

    The tokens are those that the server counted; `n_uncounted` answers, if there are any, came without a count.
    `maybe_paid` has the calls whose end is unknown by problem: they may have been charged.
    """
    found: Counter[str] = Counter({"n_calls": 0, **dict.fromkeys(_TOKENS, 0), "n_uncounted": 0})
    others: Counter[str] = Counter()
    unknown: dict[str, Json] = {}
    for question, key in _once(questions, teacher):
        given, calls = earlier_answers(question, teacher, paid), paid.calls.get(key, Calls())
        found["n_calls"] += max(calls.sent, sum(answer.n_calls for answer in given))
        for answer in given:
            found.update({name: getattr(answer, name) for name in (*_TOKENS, "n_uncounted")})
            others.update([answer.model] if answer.model else [])
        if calls.maybe_paid:
            unknown[question.problem.id] = calls.maybe_paid
    return {
        **{name: n for name, n in found.items() if n or name != "n_uncounted"},
        **({"n_maybe_paid": sum(unknown.values()), "maybe_paid": unknown} if unknown else {}),
        **({"answered_as": dict(others)} if others else {}),
    }


_TOKENS = ("n_prompt_tokens", "n_completion_tokens")


def _judged(
    problem: Problem, answer: Answer, teacher: str, settings: Demonstrations, *, thoughts: bool
) -> Demonstration:
    """Judge an answer, and decide whether it is trained on; text after its own end never is."""
    if answer.text is None:
        return Demonstration(problem.id, problem.task, teacher, "", None, "unread", False, answer.reason)
    text, open_thought = _own_text(answer.text, problem.question, thoughts=thoughts)
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


def _own_text(text: str, question: str, *, thoughts: bool) -> tuple[str, bool]:
    """Return what a teacher wrote in its own turn, with or without thoughts, and whether its last thought is open.

    Thoughts marked by tokens of its family are left out, since a student would learn to spell them. So are those
    whose beginning a server cut off, since a student would close what it never opened.
    """
    from srit.tasks.reading.turns import opens_thought, own_turn  # here, as in srit.tasks.reading

    turn = own_turn(text, question)
    own = _OPENINGS.sub("", text[: turn.end])
    headless = turn.start > 0 and not opens_thought(text[: turn.start])
    is_own = thoughts and not headless and not _TOKEN.search(own)
    return (own if is_own else text[turn.start : turn.end]).strip(), turn.open_thought


def _unfit(text: str, *, open_thought: bool) -> str:
    """Say why a text should not be learned, whatever it answers; "" if there is no reason."""
    if open_thought:
        return "its thought never ends"
    if not text:
        return "it says nothing"
    if token := _TOKEN.search(text):
        return f"it spells out a token ({token[0]})"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "it holds half a surrogate pair, which no tokenizer takes"
    return ""
