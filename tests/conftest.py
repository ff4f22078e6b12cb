import pytest
from tiny import save_tiny_student


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory):
    return save_tiny_student(tmp_path_factory.mktemp("student"))
