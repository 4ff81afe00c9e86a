# Every word sets up what it needs: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
N      ?= 1000000
JOBS   ?= 4
MINUTES ?= 60
CSV    ?= soak.csv

.PHONY: setup demo test check fix docs fuzz faults soak bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

demo: setup                 ## simulated clouds, embedded broker and bridge in one process
	$(BIN)/navibridge demo $(ARGS)

test: setup                 ## the whole suite, with branch coverage; the faults, whose times are judged, on their own
	status=0; \
	$(BIN)/python -m pytest --numprocesses=$(JOBS) --ignore=tests/faults --cov --cov-report=term:skip-covered $(ARGS) \
		|| status=$$?; \
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile tests/faults $(ARGS) || status=$$?; \
	exit $$status

check: setup                ## everything that CI insists on
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

fix: setup                  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup                 ## the pages that follow from the code: devices, configuration, commands
	$(BIN)/python docs/generate.py

fuzz: setup                 ## N random, cut and mangled frames of every form
	$(BIN)/python tests/fuzz.py $(N)

faults: setup               ## every fault there is, and what came of it, as a table
	$(BIN)/python tests/faults/run.py $(ARGS)

soak: setup                 ## MINUTES with the real parts and faults at random; figures go to the table CSV
	$(BIN)/python tests/faults/soak.py --minutes $(MINUTES) --csv $(CSV) $(ARGS)

bench: setup                ## the budgets, measured side by side
	$(BIN)/python tests/bench/run.py

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
