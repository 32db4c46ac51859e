# Each target does all its own set-up: it needs Python 3.10 or later, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test clean

demo: $(VENV)/.installed
	@$(BIN)/kling-batch run manifests/demo.yaml --simulate --yes

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=/path/to/it")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is needed (on Debian: python3-venv)"; exit 1; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) …"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) …"
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) manifests/.kling-batch manifests/outputs
