# make up: everything, from a fresh clone to a model that answers.   make test: the tests.   make check: what CI runs.
VENV    ?= .venv
PYTHON  ?= python3
HAKARU  := $(VENV)/bin/hakaru
READY   := $(VENV)/.ready
DEV     := $(VENV)/.ready-dev
PYTEST  := $(VENV)/bin/python -m pytest
# All tests: those without a model on all cores, then those that load one, which need the cores themselves. Or what ARGS name.
TESTS    = $(if $(ARGS),$(PYTEST) $(ARGS),$(PYTEST) -m "not engine" -n logical && $(PYTEST) -m engine)

.PHONY: up test check bench clean
.DEFAULT_GOAL := up

up: $(READY)
	@$(HAKARU) up $(ARGS)

test: $(DEV)
	@$(TESTS)

check: $(DEV)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python scripts/help_text.py --check
	@$(VENV)/bin/python scripts/rooms.py --check
	@$(VENV)/bin/python scripts/architectures.py --check
	@$(VENV)/bin/python scripts/check_wheel.py
	@$(TESTS)

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
