"""Which stored answers are used again, and which questions are asked again."""

import pytest
from teacher_server import Reply, answer, ask, failing_for, questions, stored_answers

from srit.recipe import Demonstrations
from srit.stages.demonstrations import Tally, make_demonstrations, spent_on
from srit.teachers import Answer, answer_key
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher
from srit.teachers.paid import Paid, earlier_answers, valid_answer


def test_a_stored_answer_is_never_asked_for_again(server):
    server.default = lambda body: Reply(answer(f"{body['messages'][0]['content']} The answer is 2."))
    paid = stored_answers()

    def demonstrate(n, keep):
        teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=3))
        tally = Tally()
        return list(make_demonstrations(questions(n), teacher, Demonstrations(keep=keep), paid, tally)), tally

    demonstrate(4, "correct")
    made, tally = demonstrate(7, "all")

    assert len(server.requests) == 7 and tally.unsettled == 0
    assert len(made) == sum(tally.counts.values()) == 7
    assert all(d.text.startswith("What is") for d in made)


def test_a_raised_limit_asks_again_only_what_was_cut(server):
    def reply(body):
        if "What is 1 " in body["messages"][0]["content"] and body["max_tokens"] < 200:
            return Reply(answer(None, finish="length"))
        return Reply(answer("The answer is 2."))

    server.default, paid = reply, stored_answers()

    def texts(limit):
        server.requests.clear()
        answers = ask(questions(3), OpenAITeacher(Endpoint(server.url, "m", max_tokens=limit)), paid)
        return [answers[f"p{i}"].text is not None for i in range(3)], len(server.requests)

    assert texts(64) == ([True, False, True], 3)
    assert texts(64) == texts(32) == ([True, False, True], 0)
    assert texts(128) == ([True, False, True], 1)
    assert texts(256) == ([True, True, True], 1)
    assert texts(64) == ([True, True, True], 0)  # 9 tokens, as the server counted them: it fits
    assert texts(9) == ([False, False, False], 0)  # and here it would have been cut
    assert len({headers["idempotency-key"] for _, headers, _ in server.requests}) == len(server.requests)


def test_journals_from_when_the_limit_was_in_the_key_are_read(server):
    teacher = OpenAITeacher(Endpoint(server.url, "m", max_tokens=256))
    kept = [
        Answer("p0", "The answer is 2.", "", 1, 7, 9),
        Answer("p1", None, "cut: raise teacher.max_tokens", 1, 7, 64),
        Answer("p2", "The answer is 2. To be sure", "", 1, 7, 64),  # of a server that called it "stop"
    ]
    keys = [answer_key(teacher.identity | {"max_tokens": 64}, q.prompt) for q in questions(3)]
    old = {key: [one] for key, one in zip(keys, kept, strict=True)}

    def open_run(limit, *earlier):
        asked_now = OpenAITeacher(Endpoint(server.url, "m", max_tokens=limit))
        paid = Paid(old, print, earlier, set())
        found = [valid_answer(earlier_answers(q, asked_now, paid), limit) for q in questions(3)]
        return [one and (one.text or one.reason) for one in found]

    cut = "cut: raise teacher.max_tokens"
    assert open_run(64) == ["The answer is 2.", cut, cut]
    assert open_run(256, 64) == ["The answer is 2.", None, None]
    assert open_run(256) == [None, None, None]  # no run of this folder ever had another limit


SETTLED, UNSETTLED = Answer("p", None, "filtered", limit=64), Answer("p", None, "refused", settled=False, limit=64)
WHOLE, CUT_SHORT = Answer("p", "2", "", limit=64), Answer("p", None, "cut", cut=True, limit=64)


@pytest.mark.parametrize(
    ("answers", "limit", "expected"),
    [
        ([], 64, None),
        ([UNSETTLED], 64, None),
        ([UNSETTLED, WHOLE], 64, "2"),
        ([SETTLED], 256, "filtered"),
        ([CUT_SHORT], 64, "cut"),
        ([CUT_SHORT], 65, None),
        ([CUT_SHORT, WHOLE], 256, "2"),
        ([WHOLE], 256, "2"),
        ([WHOLE], 32, None),  # its tokens were not counted
        ([WHOLE], None, "2"),
    ],
)
def test_an_answer_is_valid_while_asking_again_would_give_the_same(answers, limit, expected):
    found = valid_answer(answers, limit)

    assert (found and (found.text or found.reason)) == expected


def test_an_unsettled_question_is_asked_again_by_the_next_process_and_counted(server):
    server.default = failing_for("What is 1 ", Reply({"error": {"message": "the template failed"}}, status=400))
    teacher, paid = OpenAITeacher(Endpoint(server.url, "m")), stored_answers()

    ask(questions(3), teacher, paid)
    ask(questions(3), teacher, paid)

    assert len(server.requests) == 3  # this process has tried
    server.default = Reply()
    assert ask(questions(3), teacher, paid._replace(in_vain=set()))["p1"].text is not None
    assert len(server.requests) == 4
    assert spent_on(questions(3), teacher, paid) == {"n_calls": 4, "n_prompt_tokens": 21, "n_completion_tokens": 27}
