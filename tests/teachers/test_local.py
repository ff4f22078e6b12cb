"""A model on this machine as a teacher."""

import pytest
from teacher_server import questions

from srit.errors import DataError
from srit.teachers.local import TEACHER, LocalSettings, LocalTeacher


def test_a_local_model_teaches_through_a_sampler():
    def complete(chunks):
        for number in reversed(chunks):  # in any order
            yield number, [(f"echo {prompt}", "3 +" in prompt) for prompt in chunks[number]]

    answers = list(LocalTeacher("local", {}, complete, max_tokens=64, rows=2).answer(questions(5)))

    assert [a.text for a in answers if a.problem_id in ("p0", "p1")] == ["echo What is 0 + 1?", "echo What is 1 + 1?"]
    [cut] = [a for a in answers if a.text is None]
    assert (cut.problem_id, cut.cut, cut.limit, cut.raw) == ("p3", True, 64, "echo What is 3 + 1?")
    assert "teacher.max_tokens" in cut.reason


def test_a_model_that_is_not_there_is_the_teachers_fault(tmp_path):
    settings = LocalSettings(model=str(tmp_path / "none"))

    for look in (TEACHER.model, TEACHER.sources):
        with pytest.raises(DataError, match=r"^teacher\.model: there is no folder"):
            look(settings)
