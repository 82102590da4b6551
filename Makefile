# `make up` gives a running site, `make test` runs everything that is checked. Both can be run at any time.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STACK := local
APP := examples/prestamos
BIN := .venv/bin
INSTALLED := .venv/relevo-installed

# Like pip, uv is to trust the certificates that the machine trusts (older releases know the second name).
export UV_SYSTEM_CERTS ?= 1
export UV_NATIVE_TLS ?= 1

.PHONY: help setup up preview down rollback status logs url start test lock

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
	@$(BIN)/relevo url --stack $(STACK)

start: $(INSTALLED) ## start again all that ran, after a reboot
	@$(BIN)/relevo start --stack $(STACK)

test: setup ## lint, types and all tests
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; started=$$SECONDS
	step() { echo "relevo: $$*"; "$$@"; }
	step ruff check
	step ruff format --check
	step pyright
	step pytest --durations=15
	echo "relevo: all of it took $$((SECONDS - started)) s"

lock: $(INSTALLED) ## renew requirements-lock.txt from requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" requirements.txt --output-file requirements-lock.txt

# By uv if it is there, else pip gets uv, by its hash in the lock, and uv the rest: seconds instead of a minute.
$(INSTALLED): requirements-lock.txt pyproject.toml
	@new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
	python=; for name in python3 python3.14 python3.13 python3.12 python3.11; do
	  if new_enough "$$name"; then python=$$name; break; fi
	done
	if [ -z "$$python" ]; then
	  echo "python3 is $$(python3 --version 2>&1 || true), but 3.11 or newer is needed; install it and put it on PATH." >&2
	  exit 1
	fi
	echo "relevo: making the environment .venv with $$("$$python" --version)"
	if command -v uv >/dev/null; then
	  uv venv --quiet --allow-existing --python "$$(command -v "$$python")" .venv
	  uv=uv
	else
	  "$$python" -m venv .venv
	  awk '/^[^ #]/ { mine = /^uv==/ } mine' requirements-lock.txt > .venv/uv.txt
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	  uv=$(BIN)/uv
	fi
	echo "relevo: installing $$(grep -c '^[a-z].*==' requirements-lock.txt) packages from requirements-lock.txt"
	"$$uv" pip install --python $(BIN)/python --require-hashes -r requirements-lock.txt
	"$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

.ONESHELL:
