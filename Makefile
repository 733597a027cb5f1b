# Everything a fresh machine with Python 3.11, make and git needs. `make demo` and `make test` do all the set-up.
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= examples/rice_japonica_uy
UV = $(VENV)/bin/uv
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(VENV)/bin/python --constraints constraints.txt

.PHONY: demo test ui lint constraints clean stack-demo stack-down

demo: $(VENV)/.core
	@$(VENV)/bin/genomic-platform run $(DEMO)
	@$(VENV)/bin/genomic-platform report $(DEMO) --first 10

test: $(VENV)/.test
	@$(VENV)/bin/pytest

ui: $(VENV)/.core
	@$(VENV)/bin/genomic-platform ui $(DEMO)

lint: $(VENV)/.test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/dg check defs

# The compose stack (docs/stack.md): build, start, run the example through it, say where the pages are.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

stack-demo:
	@sh deploy/new_env.sh
	@COMMIT=$$(git describe --always --dirty=.dirty --abbrev=12 --exclude '*' 2>/dev/null) $(COMPOSE) build init
	@$(COMPOSE) up -d
	@$(COMPOSE) run --rm cli genomic-platform run rice_japonica_uy
	@$(COMPOSE) run --rm cli genomic-platform report rice_japonica_uy --first 10
	@. ./.env; echo "Dagster  http://localhost:$$DAGSTER_PORT\nMLflow   http://localhost:$$MLFLOW_PORT"; \
	  echo "lakeFS   http://localhost:$$LAKEFS_PORT (keys in .env)\nEvidently http://localhost:$${EVIDENTLY_PORT:-8001}\nstop with: make stack-down"

# Containers of runs are not Compose's own; the volumes are kept.
stack-down:
	@docker ps -q --filter network=genomic-platform --filter label=dagster/run_id | xargs -r docker stop >/dev/null
	@$(COMPOSE) down

# Exact versions of everything, from the ranges of pyproject.toml.
constraints: $(VENV)/.uv
	@$(UV) pip compile --quiet --no-header --python-version 3.11 --all-extras pyproject.toml -o constraints.txt

clean:
	rm -rf $(VENV) examples/.genomic_platform

$(VENV)/.uv:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.core: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "installing the core packages"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.uv pyproject.toml constraints.txt
	@echo "installing all packages and the test tools (torch is large)"
	@$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.core
