# The command runner. `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out/rehearse

.DEFAULT_GOAL := help
.PHONY: help rehearse test compat lint format types layers check prune clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

rehearse: $(VENV)/.runtime  ## Carry the node-pool migration through on the embedded cluster
	$(BIN)/python -m pytest scenarios/node_pool --cni-out $(OUT)

test: $(VENV)/.dev  ## Run the tests
	$(BIN)/python -m pytest -n 2 tests

compat: $(VENV)/.dev  ## Test the plugin on the oldest pytest that it is for
	@test -x $(VENV)-compat/bin/python || $(PYTHON) -m venv $(VENV)-compat
	$(VENV)-compat/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' 'pytest==9.1.*'
	$(VENV)-compat/bin/python -m pytest -n 2 tests/plugin tests/run

lint: $(VENV)/.dev  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev  ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev  ## Check the types
	$(BIN)/mypy

layers: $(VENV)/.dev  ## Check that each layer imports only from those below it
	$(BIN)/lint-imports

check: lint types layers test  ## All of the above

prune: $(VENV)/.runtime  ## Find and remove what earlier runs have left
	$(BIN)/python -m pytest_cnimigrate.providers.prune

clean:  ## Remove the environment and all output
	rm -rf $(VENV) $(VENV)-compat out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# A registry that answers on the third try is no reason to fail.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@for attempt in 1 2 3; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '$(1)' && break; \
		test $$attempt != 3 || exit 1; \
		echo "installing failed, trying again in 10 s" >&2; sleep 10; \
	done
	@touch $@
endef

$(VENV)/.runtime: pyproject.toml
	$(call install,.)

$(VENV)/.dev: pyproject.toml
	$(call install,.[dev])
	@touch $(VENV)/.runtime
