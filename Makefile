# make up: everything, from a fresh clone to a model that answers.   make test: the tests.   make check: what CI runs.
VENV    ?= .venv
PYTHON  ?= python3
HAKARU  := $(VENV)/bin/hakaru
READY   := $(VENV)/.ready
DEV     := $(VENV)/.ready-dev

.PHONY: up test check bench clean
.DEFAULT_GOAL := up

up: $(READY)
	@$(HAKARU) up $(ARGS)

test: $(DEV)
	@$(VENV)/bin/python -m pytest $(ARGS)

check: $(DEV)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python scripts/help_text.py --check
	@$(VENV)/bin/python scripts/rooms.py --check
	@$(VENV)/bin/python scripts/architectures.py --check
	@$(VENV)/bin/python scripts/check_wheel.py
	@$(VENV)/bin/python -m pytest $(ARGS)

bench: $(DEV)
	@for b in benchmarks/*.py; do $(VENV)/bin/python $$b || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

$(READY): pyproject.toml constraints.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py $(VENV)
	@touch $@

$(DEV): $(READY)
	@$(PYTHON) scripts/setup.py $(VENV) --dev
	@touch $@
