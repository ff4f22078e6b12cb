import pytest
from browser import Browser


@pytest.fixture(scope="session")
def browser():
    opened = Browser()
    yield opened
    opened.close()
