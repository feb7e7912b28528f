# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-loops test-versions lint bench bench-gpu bench-scale bench-probe bench-zoo bench-rate bench-depth bench-deepest bench-fix bench-truth bench-truth-fixes bench-import messages clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-demo  ## check a CNN on MNIST digits and an exploding one; watch that one; fix it
	@for name in article_cnn article_cnn_exploding; do \
		echo; echo "evengrad check examples/$$name.py --html reports/$$name.html"; \
		$(PY) -m evengrad check examples/$$name.py --html reports/$$name.html && status=0 || status=$$?; \
		if [ $$status -gt 1 ]; then echo "make demo: $$name could not be checked (status $$status)" >&2; exit $$status; fi; \
	done
	@echo; echo "evengrad run examples/article_cnn_exploding.py --folder reports -- --sgd 0.1"; \
	$(PY) -m evengrad run examples/article_cnn_exploding.py --folder reports --html reports/article_cnn_exploding_run.html \
		-- --sgd 0.1 && status=0 || status=$$?; \
	if [ $$status -ne 3 ]; then echo "make demo: the guard should have stopped it (status 3, got $$status)" >&2; exit 1; fi
	@echo; echo "evengrad fix examples/article_cnn_exploding.py --steps 100"; \
	$(PY) -m evengrad fix examples/article_cnn_exploding.py --steps 100 --folder reports \
		--html reports/article_cnn_exploding_fix.html || { echo "make demo: it should have been fixed" >&2; exit 1; }
	@echo; echo "Reports (open in a browser):"
	@ls -1 "$(CURDIR)"/reports/article_cnn.html "$(CURDIR)"/reports/article_cnn_exploding.html \
		"$(CURDIR)"/reports/article_cnn_exploding_run.html "$(CURDIR)"/reports/article_cnn_exploding_fix.html

test: $(VENV)/.installed-dev  ## lint, types, import rules, tests with each framework, examples
	@$(PY) tests/run_all.py

test-loops: $(VENV)-loops/.installed  ## people's own trainers and trackers (Lightning, Hugging Face, TRL, flax, W&B, ...) in .venv-loops
	@OMP_NUM_THREADS=1 $(VENV)-loops/bin/python -m pytest -q -m loops tests/loops
	@OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu $(VENV)-loops/bin/python -m pytest -q tests/adapters/jax tests/conformance/test_jax_conformance.py

test-versions: $(VENV)/.installed-dev  ## the oldest and newest version of each framework, into docs/versions.md (gigabytes)
	@$(PY) tests/versions.py --write

lint: $(VENV)/.installed-dev  ## only lint, types and import rules
	@$(PY) tests/run_all.py lint

bench: $(VENV)/.installed-dev  ## cost of watching against clips and other tools, into docs/watching-cost.md
	@$(PY) -m pip install -qq -c constraints.txt -r bench/peers.txt || \
		echo "Not all of bench/peers.txt could be installed; those rows are left out." >&2
	@$(PY) -m bench.watching --write

bench-gpu: $(VENV)/.installed-dev  ## the same and check on a GPU, where there is one, into docs/watching-cost.md
	@$(PY) -m bench.gpu --write

bench-scale: $(VENV)/.installed-dev  ## how a run's file, its page and the watch's memory grow
	@$(PY) -m bench.scale

bench-probe: $(VENV)/.installed-dev  ## cost of one probe as a ratio to one training step
	@$(PY) bench/probe_cost.py

bench-zoo: $(VENV)/.installed-dev  ## forecasts against probes over a zoo of architectures, into docs/forecast.md
	@$(PY) -m bench.zoo --half all --write

bench-import: $(VENV)/.installed-dev  ## what importing evengrad and asking it for help cost, as ratios
	@$(PY) bench/import_cost.py

bench-rate: $(VENV)/.installed-dev  ## predicted against real edges of stability, into docs/learning-rate.md
	@$(PY) bench/learning_rate.py

bench-depth: $(VENV)/.installed-dev  ## plain networks of 50 and 100 layers against their residual twin, into docs/depth.md
	@OMP_NUM_THREADS=1 $(PY) -m bench.depth --write

bench-deepest: $(VENV)/.installed-dev  ## a plain CNN of 10,000 layers, critical and not (25 minutes at most)
	@OMP_NUM_THREADS=1 $(PY) -m bench.depth.deepest

bench-truth: $(VENV)/.installed-dev  ## verdicts on public reports and their cured twins, into docs/truth.md
	@$(PY) -m bench.truth.reports --write; $(PY) -m bench.truth.reports --half held --write

bench-truth-fixes: $(VENV)/.installed-dev  ## what fix makes of public reports, for an hour at a time, into docs/truth.md
	@$(PY) -m bench.truth.fixes --write

bench-fix: $(VENV)/.installed-dev  ## what fix makes of sick trainings whose cause is known, into docs/fixing-corpus.md
	@$(PY) -m bench.fixes --examples --write --failures

messages: $(VENV)/.installed-dev  ## take new messages into the catalogue of translations, and compile it
	@$(PY) tests/messages.py

clean:  ## remove reports and caches; .venv stays
	rm -rf reports .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "evengrad needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)-loops/.installed: pyproject.toml constraints.txt tests/loops/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "evengrad needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@echo "installing evengrad[torch], trainers and trackers into $(VENV)-loops (some minutes the first time)"
	@$(PYTHON) -m venv $(VENV)-loops
	@$(VENV)-loops/bin/python -m pip install -qq -c constraints.txt -e ".[torch]" pytest pytest-timeout
	@$(VENV)-loops/bin/python -m pip install -qq $$(grep -x 'torch==.*' constraints.txt) -r tests/loops/requirements.txt
	@touch $@

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(PY)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(VENV) has $$($(PY) --version 2>&1); evengrad needs 3.11 or newer. Remove $(VENV) and run make again." >&2; exit 1; }
	@echo "installing evengrad[$*] into $(VENV) (some minutes the first time)"
	@$(PY) -m pip install -qq -c constraints.txt -e ".[$*]"
	@touch $@
