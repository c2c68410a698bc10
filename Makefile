# `make serve` runs the service, `make test` proves it; both install what they need first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# The CUDA build of the engine where a GPU is, else the CPU build.
DEVICE ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
LOCK := requirements/$(DEVICE).lock
ARGS ?=

.PHONY: help serve test fuzz soak check install format lock clean pocket dashboards images-check
.DEFAULT_GOAL := help

help:  ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 21

serve: $(VENV)/installed  ## Start Redis, engine and gateway; ARGS="--port 9000" and the like are passed on
	@$(BIN)/personadual serve $(ARGS)

test: $(VENV)/installed  ## Run all tests; ARGS="-k reply" and the like are passed on
	@$(BIN)/python -m pytest $(ARGS)

FUZZ_S ?= 150

fuzz: $(VENV)/installed  ## Drive the readers of other people's bytes, five minutes in all
	@for target in events replies; do mkdir -p .fuzz/$$target; \
	  $(BIN)/python -m tests.fuzz $$target $(FUZZ_S) .fuzz/$$target || exit 1; done

check: $(VENV)/installed  ## Format, lint, types, layers, Compose files and Dockerfiles
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layers.py tests/test_compose.py

format: $(VENV)/installed  ## Format and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

install: $(VENV)/installed  ## Make .venv with the locked dependencies

$(VENV)/installed: $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not there; install it, or name one: make PYTHON=..."; exit 1; }
	@echo "  … the locked dependencies into $(VENV), from $(LOCK): a few minutes, once"
	@date +%s > .begun
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "  ✓ the locked dependencies ($$(( $$(date +%s) - $$(cat .begun) )) s)"; rm .begun
	@touch $@

BASE := .personadual/models/untrained/pocket
PROCESSES ?= 1
LAUNCH := $(BIN)/torchrun --standalone --nproc_per_node $(PROCESSES) $(BIN)/personadual

pocket: $(VENV)/installed  ## Train Pocket anew, from its data to its figures; goes on where it was stopped; PROCESSES=2 for two cores or GPUs
	@$(BIN)/personadual model build --untrained $(BASE)
	@$(LAUNCH) train sft configs/pocket-sft-$(DEVICE).toml
	@$(LAUNCH) train dual-grpo configs/pocket-dual-grpo-$(DEVICE).toml
	@$(BIN)/python -m benchmarks.settle
	@$(LAUNCH) train sft configs/pocket-settle-$(DEVICE).toml
	@$(BIN)/personadual model export runs/pocket-settle/adapter runs/pocket
	@$(BIN)/personadual train calibrate runs/pocket training/pocket/data/calibration.jsonl
	@$(BIN)/python -m benchmarks.arms --config configs/pocket-dual-grpo-$(DEVICE).toml --only "base, prompted"
	@$(BIN)/python -m benchmarks.figures runs/pocket --page model/pocket/README.md --base runs/arms/base/evaluation
	@for stage in sft dual-grpo settle; do mkdir -p model/pocket/$$stage || exit 1; \
	  cp runs/pocket-$$stage/run.md runs/pocket-$$stage/*.png model/pocket/$$stage/ || exit 1; done
	@mkdir -p model/pocket/adapter
	@cp runs/pocket-settle/adapter/adapter_* model/pocket/adapter/
	@cp runs/pocket/personadual.json model/pocket/

dashboards: $(VENV)/installed  ## Write Grafana's boards anew from their source
	@$(BIN)/python -m docker.grafana

images-check: $(VENV)/installed  ## Build the images and run them as Compose does: root, half an hour; ARGS="gateway" is a minute
	@$(BIN)/python -m docker.check $(ARGS)

SOAK_MINUTES ?= 20

soak: $(VENV)/installed  ## Mixed traffic for SOAK_MINUTES=20: every reply checked, every count, and the memory
	@$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES)

UV_LOCK := uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11
UV_CPU := $(UV_LOCK) --constraint requirements/cpu.in --overrides requirements/overrides.txt \
  --overrides requirements/cpu-overrides.txt pyproject.toml requirements/torch.in

lock:  ## Write the locks anew (needs uv); cpu.in is a list that pip installs as it is, and pins those of the images
	@command -v uv >/dev/null || { echo "make: uv is not there; pip install uv"; exit 1; }
	@{ cat requirements/head.txt; $(UV_LOCK) --no-deps requirements/cpu.in; } > requirements/cpu.lock
	@{ cat requirements/head.txt; $(UV_CPU) --extra engine-cpu; } > requirements/engine-cpu.lock
	@{ cat requirements/head.txt; $(UV_CPU) --extra train requirements/training.in; } > requirements/training-cpu.lock
	@{ echo "# Locked set for the CUDA engine and for development: CPython 3.11, Linux x86-64. \`make lock\` writes it."; \
	  $(UV_LOCK) --python-platform x86_64-manylinux_2_28 --overrides requirements/overrides.txt pyproject.toml --extra engine-cuda --extra train --extra data --extra dev; } > requirements/cuda.lock
	@$(UV_LOCK) --constraint requirements/cpu.in pyproject.toml requirements/gateway.in > requirements/gateway.lock
	@$(UV_LOCK) --constraint requirements/cpu.in requirements/router.in > requirements/router.lock

clean:  ## Remove the environment and what tests and builds left
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build dist
