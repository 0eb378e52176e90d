# Everything a newcomer needs: `make quickstart` and `make test`, from nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each of them takes a quarter of a minute to import TensorFlow and to collect the tests.
TESTERS := $(shell $(PYTHON) -c 'import os; print(min(max(os.cpu_count(), 2), 4))')
PYTEST := $(BIN)/python -m pytest -q --numprocesses $(TESTERS)
# Or each process that tests start would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready

.PHONY: quickstart package site test test-all test-jax test-oldest torture notebook clean

quickstart: $(READY)
	$(BIN)/keras-peterrec quickstart

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) --processor-seconds

# Wheel and sdist: what is in them, and whether the wheel alone trains and serves; two minutes at most.
package: $(READY)
	$(BIN)/python tests/package/check_package.py

# The pages, as a site in build/site; a link that leads nowhere is an error.
site: $(READY)
	$(BIN)/python -m pip install -q -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q

# The slow ones as well.
test-all: $(READY)
	$(PYTEST) -m "slow or not slow"

# The same as `test` with the oldest versions of what setup.cfg asks for, in an environment of its own.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -q uv
	.venv-oldest/bin/uv pip install -q --python .venv-oldest/bin/python --resolution lowest-direct -e ".[test]"
	.venv-oldest/bin/python -m pytest -q --numprocesses $(TESTERS)

# What is broken on purpose, for some hours; full_disks.py needs root.
torture: $(READY)
	$(BIN)/python tests/torture/damaged_inputs.py --inputs 25000
	$(BIN)/python tests/torture/killed_commands.py --kills 80
	$(BIN)/python tests/torture/full_disks.py --disks 38
	$(BIN)/python tests/torture/soak.py --swaps 28
	$(BIN)/python tests/torture/hostile_requests.py --history i1 --seconds 600 --max-ratio 3

# Layers, patches and models on Keras' JAX backend.
test-jax: $(READY)
	$(BIN)/python -m pip install -q -e ".[jax]"
	KERAS_BACKEND=jax $(PYTEST) tests/layers tests/linear/test_linear_table.py tests/patches tests/models tests/tasks/test_heads.py tests/tasks/test_target_loss.py

notebook: $(READY)
	$(BIN)/python -m pip install -q -e ".[notebook]"
	$(BIN)/jupyter notebook notebooks

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed. Received: Python {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
