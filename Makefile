# Every target sets up what it needs first; the second time that takes a second.

PYTHON ?=
BOOTSTRAP := $(firstword $(foreach name,python3 python3.12 python3.11,$(if $(shell command -v $(name)),$(name))))
SETUP := $(BOOTSTRAP) docker/setup $(if $(PYTHON),--python $(PYTHON))
MOLA := .venv/bin/mola

# Another ROS, Python or environment that this shell has sourced must not leak into ours.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH PYTHONHOME VIRTUAL_ENV
unexport LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help demo test test-all setup setup-base lock clean

help:
	@echo 'make demo     the twin, the ROS 2 graph, MoLA doing five tasks'
	@echo 'make test     style, types, rings and tests'
	@echo 'make test-all the same with the slow tests: a million chunks, the table of faults, the expert'
	@echo 'make setup    only the set-up, with torch for training; PYTHON=python3.12 chooses the interpreter'
	@echo 'make lock     resolve the dependencies anew (needs uv)'
	@echo 'make clean    remove everything that was made'
	@echo
	@echo 'Then: .venv/bin/mola --help'

demo: setup-base
	@$(MOLA) demo

test: setup
	@.venv/bin/python tests/run.py --fast

test-all: setup
	@.venv/bin/python tests/run.py

setup:
	@$(SETUP) --torch

setup-base:
	@$(SETUP)

lock:
	@docker/setup/lock.sh --upgrade

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
