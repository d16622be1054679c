# make demo: see the whole thing work.  make test: check it.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: install demo test chaos lint bench bench-convert study clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]' -c constraints.txt
	touch $(STAMP)

demo: install
	$(BIN)/neuroconn demo demo

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not cluster and not viewer and not chaos"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "cluster and not viewer and not chaos"

chaos: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m chaos -s

bench-convert: install
	$(BIN)/python tests/benchmarks/convert/run.py

bench: install
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only -s

study: install
	$(BIN)/python tests/benchmarks/study/study.py configs/experiments/connectivity.yaml runs/study --jobs 2

clean:
	rm -rf $(VENV) demo dist build
