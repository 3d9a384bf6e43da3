# make up: everything, from a fresh clone to a model that answers.   make test: the tests.   make check: what CI runs.
VENV    ?= .venv
PYTHON  ?= python3
HAKARU  := $(VENV)/bin/hakaru
READY   := $(VENV)/.ready
DEV     := $(VENV)/.ready-dev
PYTEST  := $(VENV)/bin/python -m pytest
# A file of which every test loads a model: the fast ones need not read it.
WHOLLY  := ^pytestmark = \[?pytest\.mark\.engine
# All tests: those without a model on all cores, those that load one two at a time, and those that time something one
# by one. Or what ARGS name.
FAST    := $(PYTEST) -m "not engine" -n logical $(addprefix --ignore=,$(shell grep -rlE "$(WHOLLY)" tests))
MODELS  := $(shell grep -rlE "mark\.engine" tests --include=test_*.py | sort)
# The files that take longest begin, so that neither of the two waits long for the other in the end.
LONG    := vllm/test_real_vllm cli/test_quantize_budget quantization/test_copies quantization/test_budgeter cli/test_quantize_again \
	evaluation/test_over_ray selection/test_real_race choosing/test_loop
ORDERED := $(LONG:%=tests/%.py) $(filter-out $(LONG:%=tests/%.py),$(MODELS))
ALONE   := $(shell grep -rlE "mark\.alone" tests --include=test_*.py | sort)
ENGINE  := $(PYTEST) -m "engine and not alone" -n 2 --dist loadfile --no-loadscope-reorder $(ORDERED) \
	&& $(PYTEST) -m "engine and alone" $(ALONE)
TESTS    = $(if $(ARGS),$(PYTEST) $(ARGS),$(FAST) && $(ENGINE))

# The tests start hakaru thousands of times: an environment that forbids compiled modules would compile them each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test check lint types pages wheel fast bench clean
.DEFAULT_GOAL := up

up: $(READY)
	@$(HAKARU) up $(ARGS)

test: $(DEV)
	@$(TESTS)

# Pages, types, the wheel and the tests without a model wait for different things, so they run side by side.
check: $(DEV)
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j4 pages types wheel fast
	@$(ENGINE)

lint types pages wheel fast: $(DEV)

lint:
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types:
	@$(VENV)/bin/mypy

pages:
	@$(VENV)/bin/python scripts/help_text.py --check
	@$(VENV)/bin/python scripts/manual.py --check
	@$(VENV)/bin/python scripts/rooms.py --check
	@$(VENV)/bin/python scripts/architectures.py --check
	@$(VENV)/bin/python scripts/boards.py --check
	@$(VENV)/bin/python scripts/messages.py --check
	@$(VENV)/bin/python scripts/catalogue_sizes.py --check
	@$(VENV)/bin/python scripts/choices.py --check
	@$(VENV)/bin/python scripts/many_users.py --check

wheel:
	@$(VENV)/bin/python scripts/check_wheel.py

fast:
	@$(FAST)

bench: $(DEV)
	@for b in benchmarks/*.py; do $(VENV)/bin/python $$b || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

$(READY): pyproject.toml constraints.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py $(VENV)
	@touch $@

$(DEV): pyproject.toml constraints.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py $(VENV) --dev
	@touch $(READY) $@
