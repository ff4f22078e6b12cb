import pytest
from teacher_server import KEY, TeacherServer


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = TeacherServer()
    yield server
    server.close()
