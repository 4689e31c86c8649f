# make demo: environment, then the whole chain on speech and noise that it makes itself
# make test: environment, then all tests
# make test-slow: what takes minutes: kills, full disks, fuzzing, long recordings
# README.md has the same in plain python and pip lines, for Windows

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-slow lint clean

$(VENV)/.complete: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

demo: $(VENV)/.complete
	$(RUN) demo/run.py

test: $(VENV)/.complete
	$(RUN) -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.complete
	$(RUN) -m pytest -m slow

lint: $(VENV)/.complete
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-logo

clean: # removes what the demo and the tests made; data/, cp/, logs/ and enhanced/ are yours
	rm -rf demo/out .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
