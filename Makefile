PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test lint bench bench-quality clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(INSTALLED)  ## compare five methods on the embedded data with the embedded base model
	$(BIN)/loracle compare --epochs 4 --learning-rates 2 --out runs/demo
	@echo "Open runs/demo/report.html in a browser."

test: $(INSTALLED)  ## run all tests
	$(BIN)/pytest -q

lint: $(INSTALLED)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measure speed and memory here, beside PEFT and transformers
	$(BIN)/python -m benchmarks

bench-quality: $(INSTALLED)  ## measure the accuracy of the fast path, beside a float32 reference
	$(BIN)/python -m benchmarks.quality

clean:  ## remove what the other commands made
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache

# torch first and alone: where a CPU build is at hand, all that wants torch is then satisfied with it.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Loracle needs Python 3.11 to 3.13; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
