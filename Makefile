# make analyze [CLIP=path] [ARGS=...]   report which emotions the people in a clip show; without CLIP, in a demo clip
# make test [ARGS=...]                  run the tests
# make parts                            fetch what tests marked `mini` need; they are skipped without it (network)
# make fresh                            clone into an awkward folder, install there, run every documented command (network)
# make docs                             build the documentation site into build/site
# make lint | check | clean             ruff and mypy | lint and test | remove .venv and caches
# PYTHON=python3.12 make test           choose another Python (3.11 or newer)

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check

# A file name goes to the shell through the environment, as it was typed: spaces, quotes and $ need no care.
override CLIP := $(value CLIP)
export CLIP

.PHONY: help analyze test parts fresh docs lint check clean setup setup-dev setup-docs
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# Where this build has a mini, its language model is fetched once; without it nano answers, and says so.
OVERLAY := $(wildcard src/emotion_qwen/mini/overlay.json)

analyze: setup $(if $(OVERLAY),$(VENV)/.fetched)
	@if [ -n "$$CLIP" ]; then $(PY) -m emotion_qwen.cli analyze $(ARGS) -- "$$CLIP"; \
	else $(PY) -m emotion_qwen.cli analyze --demo $(ARGS); fi

# Two workers on one core each: with torch's default, every worker would take all cores and both would wait.
test: setup-dev
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

parts: setup-dev
	@for part in smollm2 whisper $(if $(OVERLAY),mini); do $(PY) -m emotion_qwen.cli fetch $$part || \
	echo "going on without $$part: the tests that need it are skipped" >&2; done

# What a clone must do anywhere; it takes an hour and installs packages.
fresh: setup-dev
	@$(PY) -m pytest -m "slow and network" tests/fresh $(ARGS)

# Browsers search only pages that a server sends; `python -m http.server -d build/site` is enough.
docs: setup-docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "build/site/index.html; with search: python3 -m http.server -d build/site"

lint: setup-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

check: lint
	@$(MAKE) --no-print-directory test

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache src/*.egg-info
	find src tests benchmarks recipes -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make pip run only when pyproject.toml has changed. Its output goes to standard error, so that
# `make analyze ARGS=--json > reports.jsonl` writes reports and nothing else.
setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev
setup-docs: $(VENV)/.installed-docs

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	@echo "installing Emotion-Qwen into $(VENV) (minutes, the first time)" >&2
	@$(PIP) -e ".[gguf]" >&2
	@touch $@

$(VENV)/.fetched: $(OVERLAY) | $(VENV)/.installed
	@$(PY) -m emotion_qwen.cli fetch mini >&2 || echo "going on with nano" >&2
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	@echo "installing Emotion-Qwen and what its tests need into $(VENV) (minutes, the first time)" >&2
	@$(PIP) -e ".[train,serve,dev]" >&2
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.created
	@echo "installing what the documentation needs into $(VENV) (minutes, the first time)" >&2
	@$(PIP) -e ".[docs]" >&2
	@touch $@

# A stamp, not the interpreter itself, says that it is whole: an interrupted venv has a python but no pip.
$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || \
	{ echo "error: no $(PYTHON) on this machine; install Python 3.11 or newer, or: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "error: $$("$(PYTHON)" --version) is too old; Emotion-Qwen needs 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || \
	{ rm -rf $(VENV); echo "error: $(PYTHON) -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@
