# `make up` gives a running site, `make test` runs everything that is checked. Both can be run at any time.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STACK := local
APP := examples/prestamos
BIN := .venv/bin
INSTALLED := .venv/relevo-installed
# Processes that share the tests, see tests/conftest.py. More than cores: the limits of time do not hold.
WORKERS := 2

.PHONY: help setup up preview down rollback status logs url start export rehearse test lint tests lock

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(INSTALLED) ## get the environment and the Pulumi tool chain; starts nothing
	@$(BIN)/python -m relevo.toolchain setup

up: setup ## build and pin the example if nothing is pinned, then release it; prints the address
	@$(BIN)/relevo ensure-pinned $(APP) --stack $(STACK)
	@$(BIN)/pulumi up --stack $(STACK) --yes
	@$(BIN)/relevo status --stack $(STACK)

preview: setup ## what `make up` would do
	@$(BIN)/relevo ensure-pinned $(APP) --stack $(STACK)
	@$(BIN)/pulumi preview --stack $(STACK)

down: setup ## stop everything; data stays, unless DATA=delete
	@$(BIN)/pulumi destroy --stack $(STACK) --yes
	@if [ "$(DATA)" = delete ]; then $(BIN)/relevo purge --stack $(STACK) --yes; fi

rollback: setup ## go back to the release before
	@$(BIN)/relevo rollback --stack $(STACK) --yes

status: $(INSTALLED) ## what runs, which release, where
	@$(BIN)/relevo status --stack $(STACK)

logs: $(INSTALLED) ## the logs of the site's processes
	@$(BIN)/relevo logs --stack $(STACK)

url: ## the public address and nothing else
	@[ -x $(BIN)/relevo ] || { echo "$(BIN) is missing, but the address is read with it; run make up." >&2; exit 1; }
	@$(BIN)/relevo url --stack $(STACK)

start: $(INSTALLED) ## start again all that ran, after a reboot
	@$(BIN)/relevo start --stack $(STACK)

export: ## what STACK=dev, qa or prod asks of Azure, as an ARM template on stdout
	@$(MAKE) setup >&2
	@$(BIN)/python -m tests.azure.export $(STACK)

rehearse: setup ## inject failures into a stack made for it, and show what came of each; CASES=split,… for some
	@$(BIN)/python -m tests.rehearsal $(CASES)

test: setup ## lint, types and all tests
	@time $(MAKE) lint tests

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/zizmor --offline --no-progress --quiet --strict-collection --min-severity medium .github

tests: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest --numprocesses=$(WORKERS) --durations=30

LOCKED := . relevo/image tests/azure/crosscheck

lock: $(INSTALLED) ## renew each requirements-lock.txt from the requirements.txt beside it
	@for folder in $(LOCKED); do $(BIN)/uv --directory $$folder pip compile --quiet --universal \
	  --python-version 3.11 --generate-hashes --custom-compile-command "make lock" requirements.txt \
	  --output-file requirements-lock.txt || exit 1; done

$(INSTALLED): requirements-lock.txt pyproject.toml
	@relevo/toolchain/environment.sh
	@touch $@
