# The front door. Needs python3 (3.11 or newer); uses uv when it is there.

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
LOCK := pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links
# Where there is room, the tests' databases live in memory: a disk that stalls for seconds would look like one of them.
MEMORY := $(shell df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000 { print "/dev/shm" }')
# Written so that the pattern does not find itself.
REGISTRIES := registry[.]npmjs|pythonhost[e]d|pypi[.]org

PEERS := bench/peers/node bench/peers/node/hive

.PHONY: help run test check format explorer picture lock bench bench-messages bench-broadcast bench-faults bench-soak \
	bench-cancelled bench-overload bench-hostile bench-differential bench-peers bench-clients clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/installed ## Install what is missing, then run the gateway on 127.0.0.1:8000 (Ctrl-C stops it)
	@exec $(BIN)/switchboard serve

# Even where Python is told to keep no bytecode: each process would compile all of our code anew.
test: .venv/installed-dev ## The whole suite, with the servers and the browser that it needs
	$(BIN)/python -m tests.services
	PYTHONDONTWRITEBYTECODE= $(if $(MEMORY),TMPDIR=$(MEMORY) )$(BIN)/pytest -n auto

check: .venv/installed-dev ## Lint, types, direction of imports, printed schema, no registry host in any file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(BIN)/switchboard schema | diff -u schema.graphql - || \
		{ echo "schema.graphql is not what the code serves: run switchboard schema > schema.graphql"; exit 1; }
	@! git grep -nIE '$(REGISTRIES)' || { echo "No file may name the host of a package registry."; exit 1; }

format: .venv/installed-dev ## Put the code into the form that check asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

explorer: .venv/installed ## Build the explorer page again
	$(BIN)/python hatch_build.py

picture: .venv/installed-dev ## Make README's picture of the explorer again
	SWITCHBOARD_PICTURES=docs $(BIN)/pytest -q -p no:randomly tests/gateway/test_explorer_browser.py

bench: .venv/installed-dev ## Parallelism, memory, speed beside plain Strawberry: 16 minutes, machine quiet
	$(BIN)/python -m bench.person
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench

bench-messages: .venv/installed-dev ## What sendMessage costs beside a mutation that does nothing: 5 minutes, machine quiet
	$(BIN)/python -m bench.messages

bench-broadcast: .venv/installed-dev ## Who gets a broadcast through kill -9, how fast, a plan for a million: 12 minutes
	$(BIN)/python -m bench.broadcast
	$(BIN)/python -m bench.plan --database mariadb
	$(BIN)/python -m bench.plan --database sqlite

bench-faults: .venv/installed-dev ## What a source costs that is dead, hangs or comes back: 2 minutes, machine quiet
	$(BIN)/python -m bench.faults

bench-peers: .venv/installed-dev $(PEERS:%=%/node_modules/.package-lock.json) ## Speed beside other servers: 20 minutes, machine quiet
	$(BIN)/python -m bench.peers --picture docs/peers.svg

bench-clients: .venv/installed-dev bench/clients.lock ## What a small GET costs by aiohttp and by other clients: 3 minutes, machine quiet
	$(INSTALL) --require-hashes -r bench/clients.lock
	$(BIN)/python -m bench.clients compare

# Whoever cannot be installed is not measured, and that is said.
%/node_modules/.package-lock.json: %/package-lock.json
	-cd $* && npm ci --loglevel=error

bench-soak: .venv/installed-dev ## Whether anything leaks, doubles or joins wrongly while vendors break down: 12 minutes
	$(BIN)/python -m bench.soak

bench-cancelled: .venv/installed-dev ## Wrong answers and lost connections after 10,000 cancelled requests on MariaDB: 6 minutes
	$(BIN)/python -m bench.cancelled

bench-overload: .venv/installed-dev ## What a process does that is offered four times what it can: 1 minute, machine quiet
	$(BIN)/python -m bench.overload

bench-hostile: .venv/installed-dev ## How long others wait while one caller sends what is made to hurt: 4 minutes, machine quiet
	$(BIN)/python -m bench.hostile

bench-differential: .venv/installed-dev ## Compiled operations beside graphql-core's, 10,000 cases: 10 minutes
	$(BIN)/python -m bench.differential

lock: ## Resolve the dependencies again, with hashes
	$(if $(UV),uv,$(BIN)/python -m pip install --quiet uv && $(BIN)/uv) $(LOCK) -o requirements.lock
	$(if $(UV),uv,$(BIN)/uv) $(LOCK) --group dev --extra brokers --extra tracing -c requirements.lock -o requirements-dev.lock
	$(if $(UV),uv,$(BIN)/uv) $(subst pyproject.toml,bench/clients.in,$(LOCK)) -c requirements-dev.lock -o bench/clients.lock

clean: ## Remove what was installed and built
	rm -rf .venv gateway/explorer/dist build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Switchboard needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(if $(UV),uv venv --quiet --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)

.venv/installed: .venv/bin/python requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
