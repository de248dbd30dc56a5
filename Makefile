# What can be done here; `make help` lists it. Needs make and Python 3.11 or newer: `make run PYTHON=python3.13`.

PYTHON ?= python3
VENV := .venv
COMPILED ?=
ifdef COMPILED
BIN := .compiled/bin
READY := .compiled/ready
else
BIN := $(VENV)/bin
READY := $(VENV)/ready
endif
BASE_DIR ?= .cluster
ARGS ?=
SEEDS ?= 100
JOBS ?= 2
SECONDS_EACH ?= 60
ROUNDS ?= 100

.DEFAULT_GOAL := help
.PHONY: compiled run test lint format bench guard matrix faults powercuts acceptance clients simulate tools mutants torture fuzz clean help

run: $(READY) ## start a local cluster in the foreground (more options: make run ARGS="--servers 5 --copies 3")
	@exec $(BIN)/twistd -n --pidfile= twistedkv cluster --base-dir $(BASE_DIR) $(ARGS)

test: $(READY) ## run the tests (some of them: make test ARGS="tests/wire -k put")
	@$(BIN)/python -m pytest -q $(ARGS)

lint: $(READY) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted as it should be: make format" >&2; exit 1; }
	@$(BIN)/mypy

format: $(READY) ## bring the source into its form
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## measure beside Redis, and print the table of targets (one row: make bench NAME=put)
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

guard: $(READY) ## count the instructions of each request, and compare with what is written down (also in make test)
	@$(BIN)/python -m benchmarks.guard $(ARGS)

matrix: $(READY) ## kill and freeze each process at each step of a recovery, and print the table
	@$(BIN)/python -m tests.acceptance.matrix $(ARGS)

faults: $(READY) ## faults on real processes, the histories checked (some of them: make faults ARGS="kill-primary")
	@$(BIN)/python -m tests.faults $(ARGS)

powercuts: $(READY) ## cut the power of real processes' disks, of one node and of all (more: make powercuts ROUNDS=300)
	@$(BIN)/python -m tests.faults power-cut-node power-cut-all power-cut-young power-cut-interval \
	    --times $$(( ($(ROUNDS) + 39) / 40 )) $(ARGS)

acceptance: $(READY) ## what the system is asked to withstand, on real processes and real input (about fifteen minutes)
	@failed=0; for script in workload ports packages daemons switching without_coordinator backup; do \
	    $(BIN)/python -m tests.acceptance.$$script || failed=1; done; exit $$failed

clients: $(READY) .clients/ready ## clients of Redis, unmodified, on real clusters (some: make clients ARGS="ioredis"; needs node)
	@$(BIN)/python -c 'import hiredis, redis, txredisapi; assert redis.VERSION >= (8,)' 2>/dev/null || \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
	    --config-settings editable_mode=compat -e '.[clients]' </dev/null
	@command -v redis-cli >/dev/null || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-tools >/dev/null; }
	@$(BIN)/python -m tests.clients $(ARGS)

compiled: .compiled/ready ## compile the hot modules with mypyc, beside .venv (make run COMPILED=1, make bench COMPILED=1)

tools: ## install what some tests need of the system, where it is missing (Debian, as root)
	@missing=""; command -v nft >/dev/null || [ -x /usr/sbin/nft ] || missing="$$missing nftables"; \
	    command -v ip >/dev/null || [ -x /sbin/ip ] || missing="$$missing iproute2"; \
	    command -v redis-cli >/dev/null || missing="$$missing redis-tools"; \
	    command -v redis-server >/dev/null || missing="$$missing redis-server"; \
    command -v etcd >/dev/null || missing="$$missing etcd-server"; \
    command -v strace >/dev/null || missing="$$missing strace"; \
    command -v mkfs.ext4 >/dev/null || [ -x /usr/sbin/mkfs.ext4 ] || missing="$$missing e2fsprogs"; \
    command -v mount >/dev/null || missing="$$missing mount"; \
    command -v faketime >/dev/null || missing="$$missing faketime"; \
    command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	    [ -z "$$missing" ] || { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

mutants: $(READY) ## take out one rule of the protocol at a time: the tests must notice (make mutants ARGS="--search 300")
	@$(BIN)/python -m tests.mutants $(ARGS)

simulate: $(READY) ## run the whole cluster on simulated time, with faults: make simulate SEEDS=500
	@$(BIN)/twistedkv simulate --seeds $(SEEDS) --jobs $(JOBS) --twice 20 --quiet $(ARGS)

torture: $(READY) ## kill and freeze a throw-away cluster under load for 30 s (longer: make torture ARGS="--seconds 300")
	@$(BIN)/twistedkv torture --seconds 30 $(ARGS)

fuzz: $(READY) ## look for bytes that a decoder cannot take, for a minute each (longer: make fuzz SECONDS_EACH=1800)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check \
	    --no-input --config-settings editable_mode=compat -e '.[fuzz]' </dev/null
	@$(BIN)/python -m tests.fuzz.target --seconds $(SECONDS_EACH) $(ARGS)

clean: ## remove what can be made again (the virtual environment too, the data in .cluster not)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz .clients .compiled
	@rm -f twisted/plugins/dropin.cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The virtual environment. The editable install has to be of the "compat" kind, or twistd does not see the plugin
# (setup.cfg says why). The last command writes twistd's cache of plugins, which is no error when it cannot.
$(READY): pyproject.toml setup.cfg
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "$(PYTHON) was not found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed and $(PYTHON) is $$("$(PYTHON)" -V 2>&1 | cut -d" " -f2): name another with make PYTHON=python3.11." >&2; exit 1; }
	@echo "Setting up $(VENV), once (about a minute)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
	    --config-settings editable_mode=compat -e '.[dev]' </dev/null
	@$(BIN)/python -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))' >/dev/null 2>&1 || true
	@touch $@

# Clients for node, of the versions that the package.json names.
.clients/ready: tests/clients/node/package.json
	@command -v npm >/dev/null || { echo "npm was not found: install Node.js 20 or newer." >&2; exit 1; }
	@mkdir -p .clients
	@cp $< .clients/package.json
	@npm install --prefix .clients --no-audit --no-fund --no-package-lock --loglevel=error </dev/null >/dev/null
	@touch $@

# The same with the hot modules compiled (setup.py): installed and not linked, so made anew when a source has changed.
.compiled/ready: pyproject.toml setup.py $(shell find twistedkv -name '*.py')
	@echo "Compiling into .compiled (about two minutes)"
	@"$(PYTHON)" -m venv .compiled
	@.compiled/bin/python -m pip install -qq --disable-pip-version-check --no-input \
	    'setuptools>=77' wheel 'mypy>=1.11' 'mypy-zope>=1.0.5' twisted attrs click rich prompt_toolkit hiredis redis </dev/null
	@TWISTEDKV_COMPILE=1 .compiled/bin/python -m pip install -qq --disable-pip-version-check --no-input \
	    --no-build-isolation --no-deps --force-reinstall . </dev/null
	@rm -rf build
	@touch $@
