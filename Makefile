# `make demo` and `make test` do all the set-up themselves; `make help` lists the rest.
# PYTHON=/path/to/python3.x chooses the interpreter; without it a suitable one is found.

PYTHON ?=
export PYTHON
BIN := .venv/bin

.PHONY: help demo test lint format set-up clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do printf '%-14s %s\n' "$$target" "$$text"; done

demo: ## Set up, then provision, select, deploy and roll back on three virtual microcomputers
	@sh scripts/set-up.sh run
	@sh scripts/demo.sh

test: ## Set up, then run the whole test suite
	@sh scripts/set-up.sh dev
	@$(BIN)/python -m pytest

lint: ## Check style, format and types
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: ## Put the code into the project's form
	@sh scripts/set-up.sh dev --no-sshd
	@$(BIN)/ruff format .

set-up: ## Make the virtual environment in .venv with all development dependencies
	@sh scripts/set-up.sh dev

clean: ## Stop the lab; remove it, .venv and what tools left; the store in .ota stays
	@if [ -x $(BIN)/ota ] && [ -d .ota/lab ]; then $(BIN)/ota lab down >/dev/null; fi
	@rm -rf .venv .ota/lab build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
