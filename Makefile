# Every target does its own set-up: a machine with Python 3.11 and make is enough.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Always through the constraints: they pin PyTorch to the release that has a CPU build.
# Errors only: the first installation of a hundred packages would hide what matters.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
ARGS ?=

.PHONY: help demo test lint bench bench-simulators bench-reconstruction bench-methods browser clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make demo    set up, then run the demo (ARGS=... is passed on)"
	@echo "make test    set up, then lint and run the tests (ARGS=... goes to pytest)"
	@echo "make lint    ruff, mypy and the floors"
	@echo "make bench   run the benchmarks of fits; make bench-simulators those of simulators and matching;"
	@echo "             make bench-reconstruction those from k-space to maps (PEERS=... has mrpro, sigpy, qmrpy);"
	@echo "             make bench-methods those of learned methods (FASTQMRI_TEST_DATA=... has the data)"
	@echo "make clean   remove what the tools left; the environment stays"

demo: $(VENV)/.installed-demo
	@$(BIN)/fastqmri demo $(ARGS)

# Lint comes first, so that pytest has the last word.
test: lint browser
	@$(BIN)/pytest --cov=fastqmri $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/run.py $(ARGS)

bench-simulators: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/simulators.py $(ARGS)

PEERS ?=
# Long. Studies of errors first, then speed beside other programs where they are installed.
bench-reconstruction: export OMP_NUM_THREADS = 1
bench-reconstruction: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/coil_maps.py
	@$(BIN)/python benchmarks/image_reconstruction.py
	@$(BIN)/python benchmarks/model_based.py --model t1
	@$(BIN)/python benchmarks/model_based.py --model t2
	@$(BIN)/python benchmarks/background.py
	@$(BIN)/python benchmarks/susceptibility.py $(if $(PEERS),--peers $(PEERS))
	@$(BIN)/python benchmarks/encoding.py $(if $(PEERS),--peer-python $(PEERS)) $(ARGS)
	@for model in t1 t2; do $(BIN)/python benchmarks/model_based_peers.py --model $$model \
		$(if $(PEERS),--peer-python $(PEERS)) || exit 1; done

# Long. Shipped networks beside classical methods; FIGURES is the folder of the pictures.
FIGURES ?= fastqmri-figures
bench-methods: export FASTQMRI_TEST_DATA ?= ../shared/data
bench-methods: export OMP_NUM_THREADS = 1
bench-methods: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/methods/drone.py
	@$(BIN)/python benchmarks/methods/drone_nist.py
	@$(BIN)/python benchmarks/methods/qmtnet.py --scan
	@$(BIN)/python benchmarks/methods/kspace_maps.py bars
	@$(BIN)/python benchmarks/methods/dopamine.py --network dopamine-t1
	@$(BIN)/python benchmarks/methods/dopamine.py --network dopamine-t2
	@$(BIN)/python benchmarks/methods/susceptibility.py --data $$FASTQMRI_TEST_DATA
	@$(BIN)/python benchmarks/methods/real_scans.py --out $(FIGURES)

# The report is looked at in Debian's chromium. Without it (or without the right to install it) those
# tests skip and say so.
browser:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium for the browser tests ..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium chromium-driver; } \
			>/dev/null 2>&1 || echo "chromium could not be installed: the browser tests will skip"; \
	else echo "no chromium here: the browser tests will skip"; fi

clean:
	rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .hypothesis \
		.ruff_cache .mypy_cache .import_linter_cache fastqmri-demo fastqmri-figures
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps: set-up is done again only when a dependency changed.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=<its path>"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=<its path>"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing fastqmri (the first time takes some minutes) ..."
	@$(INSTALL) -e ".[demo]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing fastqmri for development (the first time takes some minutes) ..."
	@$(INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.installed-demo
