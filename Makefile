# Everything a fresh machine with Python 3.11, make and git needs. `make demo` and `make test` do all the set-up.
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= examples/rice_japonica_uy
UV = $(VENV)/bin/uv
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(VENV)/bin/python --constraints constraints.txt

.PHONY: demo test ui lint constraints clean

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
