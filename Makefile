# make train    set up, then `dagger run python ci/main.py train`   (ARGS="--dry-run" adds to it)
# make test     set up, then the tests
.POSIX:
.PHONY: help train test fresh lint types soak bench clean

VENV = .venv/bin
WITH = PATH="$(CURDIR)/$(VENV):$$PATH"
LOCK = pyproject.toml uv.lock ci/setup.sh

help:
	@sed -n '1,2s/^# //p' Makefile
	@echo "make lint | types | soak | bench | clean"

train: .venv/setup/train
	@$(WITH) dagger run python ci/main.py train $(ARGS)

test: .venv/setup/all
	@$(WITH) python -m pytest -m "not soak and not network" $(ARGS)

# `make train` and `make test` themselves, in clean clones with an empty HOME; needs the package index.
fresh: .venv/setup/all
	@$(WITH) python -m pytest -m network $(ARGS)

lint: .venv/setup/all
	@$(WITH) ruff check .
	@$(WITH) ruff format --check .
	@$(WITH) lint-imports
	@$(WITH) rondel ci check

types: .venv/setup/all
	@$(WITH) mypy

soak: .venv/setup/all
	@$(WITH) python -m pytest -m soak $(ARGS)

bench: .venv/setup/all
	@$(WITH) python -m benchmarks $(ARGS)

# What training needs; a file that is newer than the lock says that it is there.
.venv/setup/train: $(LOCK)
	@ci/setup.sh --no-default-groups --extra mlops
	@touch $@

# Everything: training, the workload on this machine, tests and checks.
.venv/setup/all: $(LOCK)
	@ci/setup.sh --extra mlops --extra s3 --extra ssh
	@touch .venv/setup/train $@

clean:
	rm -rf .venv .tools build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
