# make demo | make test | make install      (make help lists the rest)
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(BIN)/vaeiso-monitor
FOR    ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test lint reference clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

# Two stamps: the daemon alone, and the daemon with its test tools.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev
	@touch $@

install: $(VENV)/.installed  ## build .venv with the daemon alone

demo: install  ## run the daemon on a simulated plant until Ctrl-C (FOR=60: for a minute, then a summary)
	@$(RUN) demo $(if $(FOR),--for $(FOR))

lint: $(VENV)/.tested  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## lint, then the whole suite with its coverage gate (WORKERS=2: side by side)
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

reference: $(VENV)/.tested  ## write the keys in docs/configuration.md, and docs/alert.schema.json, from the code
	$(BIN)/python -m tests.reference

clean:  ## remove what the targets above made
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
