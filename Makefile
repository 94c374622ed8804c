# Every target does its own set-up and is quiet when there is nothing to do.
PYTHON ?= python3
HOME_DIR ?= .stowage
PORT ?= 8080
BROKER ?= auto
N ?= 300
SCHEDULES ?= 10000
UPLOADS ?= 100000
EVENTS ?= 20000000
UPLOAD_MIB ?= 50
WORKERS ?= 2
VENV := .venv
READY := $(VENV)/.ready
STOWAGE := $(VENV)/bin/stowage

.PHONY: help up down demo test lint bench faults lock clean chromium parts fonts
.DEFAULT_GOAL := help

help: ## What there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

up: $(READY) fonts ## Start everything (DETACH=1 returns when ready; PORT, HOME_DIR, BROKER)
	@$(STOWAGE) up --home $(HOME_DIR) --port $(PORT) --broker $(BROKER) $(if $(DETACH),--detach)

down: $(READY) ## End everything
	@$(STOWAGE) down --home $(HOME_DIR)

demo: $(READY) ## Do the main job on the running stack (FOLDER)
	@$(STOWAGE) demo --home $(HOME_DIR) $(if $(FOLDER),--folder $(FOLDER))

test: $(READY) chromium fonts ## All tests: WORKERS at a time, then those that need the machine to themselves
	@$(VENV)/bin/pytest -q -n $(WORKERS) --dist loadgroup -m "not alone" $(ARGS)
	@$(VENV)/bin/pytest -q -m alone $(ARGS)

lint: $(READY) ## ruff, mypy, import contracts, the lock
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/ruff format -q --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(VENV)/bin/python -m deploy.check_lock
	@rm -f .lint-imports.log

parts: $(READY) ## Fetch the real programs the tests run against (the tests do it themselves when they are missing)
	@$(VENV)/bin/python -m tests.fixtures.parts

bench: $(READY) ## Ours, the textbook way and the raw limit, side by side
	@$(VENV)/bin/python -m benchmarks

faults: $(READY) ## Kill processes at every step, N times; UPLOADS by every way at once, and in one export; 200 of UPLOAD_MIB; count EVENTS
	@SCHEDULES=$(SCHEDULES) FAULTS=$(N) UPLOADS=$(UPLOADS) EVENTS=$(EVENTS) UPLOAD_MIB=$(UPLOAD_MIB) \
		$(VENV)/bin/pytest -q -m faults --timeout=7200

lock: ## Resolve requirements.lock anew (hashes, no addresses)
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip -q install pip-tools
	@.cache/lock/bin/pip-compile -q --extra dev --generate-hashes --allow-unsafe --strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock pyproject.toml

clean: ## Remove the environment, caches and the default stack
	@[ ! -x $(STOWAGE) ] || $(STOWAGE) reset --home $(HOME_DIR) > /dev/null
	@rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(READY): requirements.lock pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@[ -x $(VENV)/bin/pip ] || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

chromium:
	@sh deploy/chromium.sh $(VENV)

fonts:
	@sh deploy/fonts.sh .cache/fonts
