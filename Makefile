# Every command of the project. `make` alone lists them.
#
# Needs Python 3.11 to 3.13, git and make; everything else is installed into .venv from
# requirements.lock, whose hashes pip checks. pip's own settings (pip.conf, PIP_*) apply.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# Python that makes the environment; empty: the first of 3.11, 3.12, 3.13 that can.
PYTHON ?=
# Folder of the environment. Snakemake cannot start jobs if its path holds a space.
VENV ?= .venv
# Cores that a run may use.
CORES ?= all
# More options for snakemake, for instance ARGS="-n --quiet".
ARGS ?=
# More options for pytest, for instance TESTS="tests/unit -x".
TESTS ?=

VENV_DIR := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
BIN := $(VENV_DIR)/bin
PY := "$(BIN)/python"
SNAKEMAKE := $(PY) -m snakemake
export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@printf '\n  CORES=4 limits a run, PYTHON=... chooses the Python of .venv, ARGS=... goes to snakemake,\n'
	@printf '  TESTS=... goes to pytest.\n'

# ---------------------------------------------------------------------------------------------
# The environment. The stamp is written last and holds the lock's hash: an installation that
# broke off, or that another lock made, is never taken for a finished one.

STAMP = $(VENV_DIR)/installed

.PHONY: venv
venv: ## the environment of requirements.lock in .venv (made when missing or out of date)
	@case "$(BIN)" in *' '*) \
	  echo "dustcast: Snakemake cannot start a Python whose path holds a space ($(BIN)): name" \
	    "another folder with make VENV=/path/without/spaces" >&2; exit 1;; esac; \
	if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; \
	else set -- python3.11 python3.12 python3.13 python3 python; fi; \
	lock=$$(git hash-object requirements.lock); \
	if [ -x $(PY) ] && [ "$$(cat "$(STAMP)" 2>/dev/null)" = "$$lock" ]; then exit 0; fi; \
	python=; bare=; \
	for candidate do \
	  "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null || continue; \
	  if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then python=$$candidate; break; fi; \
	  bare=$${bare:-$$candidate}; \
	done; \
	if [ -z "$$python" ] && [ -n "$$bare" ]; then \
	  echo "dustcast: $$bare has no ensurepip, so it cannot make an environment: install the" \
	    "package python3-venv (Debian, Ubuntu: apt install python3-venv), or name another Python" \
	    "with make PYTHON=..." >&2; exit 1; fi; \
	if [ -z "$$python" ]; then \
	  echo "dustcast: no Python 3.11, 3.12 or 3.13 found among $$*: install one, or name it with" \
	    "make PYTHON=..." >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$python" --version) from requirements.lock ..."; \
	rm -f "$(STAMP)" && "$$python" -m venv --clear "$(VENV_DIR)" \
	  && PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
	    $(PY) -m pip install --quiet --require-hashes -r requirements.lock \
	  && printf '%s\n' "$$lock" > "$(STAMP)" \
	|| { echo "dustcast: $(VENV) could not be made, see above; the next make begins anew" >&2; exit 1; }

# ---------------------------------------------------------------------------------------------
# Runs

.PHONY: demo
demo: venv ## the workflow on simulated images, with a report
	$(SNAKEMAKE) --configfile config/demo.yaml --cores $(CORES) $(ARGS)
	$(SNAKEMAKE) --configfile config/demo.yaml --report results/demo/report.html
	@echo 'The report is "$(CURDIR)/results/demo/report.html": open it in a browser.'

.PHONY: global
global: venv ## integrated photometry of the DustPedia galaxies: catalogues, fits, learning
	$(SNAKEMAKE) catalogues --configfile config/global.yaml --cores $(CORES) $(ARGS)
	$(SNAKEMAKE) --configfile config/global.yaml --cores $(CORES) $(ARGS)
	$(SNAKEMAKE) --configfile config/global.yaml --report results/global/report.html
	@echo 'The report is "$(CURDIR)/results/global/report.html": open it in a browser.'

.PHONY: new-galaxy
new-galaxy: venv ## a commented configuration for dust maps of one galaxy: make new-galaxy NAME=NGC628
	@if [ -z "$(NAME)" ]; then \
	  echo "dustcast: say which galaxy: make new-galaxy NAME=NGC628" >&2; exit 2; fi
	@$(PY) scripts/new_galaxy.py "$(NAME)"

.PHONY: paper-mock
paper-mock: venv ## every figure, table and experiment of the paper on simulated galaxies
	$(SNAKEMAKE) paper --configfile config/paper_mock.yaml --cores $(CORES) $(ARGS)

.PHONY: resume
resume: venv ## continue a run that was killed: make resume CONFIG=config/demo.yaml
	@if [ -z "$(CONFIG)" ]; then \
	  echo "dustcast: say which run to resume: make resume CONFIG=config/demo.yaml" >&2; exit 2; fi
	@$(PY) scripts/resume.py "$(CONFIG)" --cores $(CORES) $(ARGS)

# ---------------------------------------------------------------------------------------------
# Checks

.PHONY: test
test: venv ## all tests but the long ones on real data
	$(PY) -m pytest $(TESTS)

.PHONY: test-science
test-science: venv ## the long tests on real data (DUSTCAST_DATA names its folder)
	$(PY) -m pytest -m science $(TESTS)

.PHONY: slurm
slurm: ## SLURM for the tests, where it is missing (Debian, Ubuntu, as root)
	@for program in slurmctld slurmd sbatch squeue munged; do \
	  command -v $$program >/dev/null 2>&1 || missing=$$program; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then \
	  echo "dustcast: $$missing is missing, and only root can install SLURM, with apt: install the" \
	    "packages slurm-wlm and munge, or do without these tests" >&2; exit 1; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null

.PHONY: test-slurm
test-slurm: slurm venv ## a small run on a SLURM that the test starts (also part of make test)
	$(PY) -m pytest tests/workflow/test_slurm.py $(TESTS)

.PHONY: test-faults
test-faults: venv ## ten kills of a simulated survey, full disks, corrupt files (two kills are part of make test)
	$(PY) -m pytest tests/workflow/test_faults.py -m "science or not science" $(TESTS)

.PHONY: lint
lint: venv ## style of Python and Snakemake files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint --configfile config/demo.yaml

.PHONY: bench-fit
bench-fit: venv ## speed and memory of the fits
	PYTHONPATH=scripts $(PY) tests/bench/bench_fit.py

.PHONY: bench-images
bench-images: venv ## speed and memory of convolution and cubes
	OMP_NUM_THREADS=1 PYTHONPATH=scripts $(PY) tests/bench/bench_images.py

.PHONY: bench-cost
bench-cost: venv ## one galaxy of archive size, and docs/cost.md from it (DUSTCAST_DATA as above)
	PYTHONPATH=scripts $(PY) tests/bench/bench_galaxy.py .cache/cost
	PYTHONPATH=scripts $(PY) tests/bench/cost.py .cache/cost

.PHONY: bench-maps
bench-maps: venv ## maps sharper than the far-infrared against the true dust of simulated galaxies
	$(SNAKEMAKE) results/mock_table/shipped/any_scale --configfile config/mock_table.yaml \
	  --cores $(CORES) $(ARGS)
	$(SNAKEMAKE) maps $(foreach name,005 006 010 012 015 020 022,results/super_resolution/mock/maps/MOCK$(name)/6.7arcsec.fits) \
	  --configfile config/super_resolution.yaml --cores $(CORES) $(ARGS)
	PYTHONPATH=scripts $(PY) tests/bench/bench_maps.py results/super_resolution

.PHONY: bench-survey
bench-survey: venv ## fluxes and errors of a survey of simulated images against what was put in (hours)
	$(SNAKEMAKE) results/mock/tables/closure.csv --configfile config/mock.yaml --cores $(CORES) $(ARGS)
	PYTHONPATH=scripts $(PY) tests/bench/bench_survey.py results/mock

.PHONY: bench-pulls
bench-pulls: venv ## the same with coarse pixels at two scales, images alone (half an hour of two cores)
	$(SNAKEMAKE) cubes $(foreach k,$(shell seq -f %03g 1 24),results/mock_coarse/mock/stages/MOCK$(k).parquet) \
	  --configfile config/mock_coarse.yaml --cores $(CORES) $(ARGS)
	PYTHONPATH=scripts $(PY) tests/bench/bench_survey.py results/mock_coarse

.PHONY: bench-regressors
bench-regressors: venv ## the ensemble against the forest on three simulated surveys (hours)
	mkdir -p .cache
	$(SNAKEMAKE) results/mock_table/predictions/ensemble.parquet --configfile config/mock_table.yaml \
	  --cores $(CORES) $(ARGS)
	for seed in 2 3; do \
	  printf 'run: mock_table_%s\nmock: {seed: %s}\n' $$seed $$seed > .cache/seed_$$seed.yaml; \
	  $(SNAKEMAKE) results/mock_table_$$seed/predictions/ensemble.parquet --cores $(CORES) $(ARGS) \
	    --configfile config/mock_table.yaml .cache/seed_$$seed.yaml || exit 1; \
	done
	PYTHONPATH=scripts $(PY) tests/bench/bench_regressors.py \
	  $(foreach run,mock_table mock_table_2 mock_table_3,results/$(run)/predictions/ensemble.parquet)

.PHONY: bench-totals
bench-totals: venv ## errors of sums over pixels against simulated galaxies (hours: it fits a survey)
	$(SNAKEMAKE) $(foreach scale,global 18arcsec,results/mock_table/sed/$(scale)/full.parquet results/mock_table/features/$(scale).parquet) \
	  --configfile config/mock_table.yaml --cores $(CORES) $(ARGS)
	PYTHONPATH=scripts $(PY) tests/bench/bench_totals.py results/mock_table

.PHONY: bench-dag
bench-dag: venv ## time and memory of planning the paper's run
	PYTHONPATH=scripts $(PY) tests/bench/bench_dag.py

# ---------------------------------------------------------------------------------------------
# Upkeep

.PHONY: lock
lock: ## renew requirements.lock from pyproject.toml
	@if command -v uv >/dev/null 2>&1; then uv=uv; else \
	  $(MAKE) --no-print-directory venv && $(PY) -m venv --clear .cache/uv \
	  && .cache/uv/bin/python -m pip install --quiet uv && uv=.cache/uv/bin/uv; fi \
	&& "$$uv" pip compile pyproject.toml --group dev --group slurm --universal \
	  --python-version 3.11 --generate-hashes --quiet --upgrade \
	  --custom-compile-command "make lock" --output-file requirements.lock

.PHONY: clean
clean: ## remove .venv and caches; results/ and data/ stay
	rm -rf "$(VENV_DIR)" .cache .pytest_cache .ruff_cache .hypothesis
	find scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d results ]; then \
	  echo "results/ ($$(du -sh results | cut -f1)) is kept: remove it yourself if you mean to."; fi
