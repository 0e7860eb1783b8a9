# Every target works on a fresh machine with Python 3.11, make and the package registries.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCES := libs/runtime/src libs/ml/src libs/sdk/src services/gateway/src services/trainer/src \
	services/evaluator/src services/profiler/src
PYTEST := $(BIN)/pytest --dist worksteal --durations=15
JOBS ?= $(shell nproc)
export PYTHONPATH :=
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup demo test lint types contracts generated unit test-cluster bench generate format release-protos clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

setup: $(VENV)/.stamp ## Put every member and tool into .venv

$(VENV)/.stamp: uv.lock pyproject.toml $(wildcard protos/pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml)
	@deploy/setup.sh $(PYTHON)
	@touch $@

demo: setup ## Train, evaluate and profile a classifier on real sensor data
	@$(BIN)/linnet demo $(ARGS)

test: setup generated lint types contracts unit ## Every check that needs no cluster

generated: setup ## Generated code is fresh; the contract is clean and breaks nothing
	$(BIN)/python protos/generate.py --check

lint: setup ## ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup ## mypy --strict
	$(BIN)/mypy $(SOURCES)

contracts: setup ## import-linter
	$(BIN)/lint-imports

unit: setup ## Unit, contract and integration tests; JOBS at once, those that judge by the clock alone
	@for group in "not tensorflow" tensorflow; do \
		$(PYTEST) -n $(JOBS) -m "not cluster and $$group and not alone" $(ARGS) || [ $$? = 5 ]; \
		$(PYTEST) -m "not cluster and $$group and alone" $(ARGS) || [ $$? = 5 ]; \
	done

test-cluster: setup ## The end-to-end suite on the testbed, or on the cluster that KUBECONFIG names
	$(BIN)/pytest -m cluster tests/cluster --durations=15 $(ARGS)

bench: setup ## Print the figures of `make bench [ONLY=part]` as JSON lines
	@for part in $(if $(ONLY),$(ONLY),$(patsubst tests/bench/bench_%.py,%,$(wildcard tests/bench/bench_*.py))); do \
		$(BIN)/python tests/bench/bench_$$part.py; \
	done

generate: setup ## Write the generated code of the contract
	$(BIN)/buf format -w protos --path protos/linnet
	$(BIN)/python protos/generate.py

release-protos: setup ## Make the present contract the one that later changes may not break
	$(BIN)/python protos/generate.py --release

format: setup ## Format and fix what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove everything that make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

-include tests/cluster/testbed.mk
