# Two commands from a fresh clone: `make demo`, `make test`. Each makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-all check format bench clean

help:
	@echo "make demo      separate a song with the model in the package, and score the stems"
	@echo "make test      all tests but the slow ones"
	@echo "make test-all  all tests (minutes and gigabytes)"
	@echo "make check     ruff, types, direction of imports"
	@echo "make format    let ruff lay the code out"
	@echo "make bench     benchmarks against the peer: time, memory, start-up"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.installed-check: $(VENV)/.installed
	$(PIP) -e ".[check]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/speed.py

clean:
	rm -rf $(VENV) demo-output separated
