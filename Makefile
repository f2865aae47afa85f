# make demo: search, retrain, test and export on the embedded digits. make test: the tests.
# Both create .venv and install what they need; running them twice is safe.
# make audit: known vulnerabilities of the pinned and of the lowest versions; needs the internet.
# make docs: the documents as a site in site/.
# DEMO is the demo's folder; DEMO_SEARCH and DEMO_RETRAIN are further options of its two trainings.

PYTHON ?= python3
DEMO ?= runs/demo
# Shorter than the configs: what is shown is the chain, and digits are learned by then.
DEMO_SEARCH ?= --trainer.max_steps 900
DEMO_RETRAIN ?= --trainer.max_epochs 30
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all docs audit mutations lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python '>=3.11,<3.14' $(VENV) && \
	  uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

# A run that was stopped goes on, and one that has ended repeats its last stage.
going = $(if $(wildcard $(1)/config.yaml),--ckpt_path last)
RETRAIN := -c configs/digits/retrain.yaml --run $(DEMO)/retrain --model.arch $(DEMO)/search/arch.json

demo: $(VENV)/.installed
	@$(BIN)/python -m search fit -c configs/digits/search.yaml --run $(DEMO)/search \
	  $(DEMO_SEARCH) $(call going,$(DEMO)/search)
	@$(BIN)/python -m retrain fit $(RETRAIN) $(DEMO_RETRAIN) $(call going,$(DEMO)/retrain)
	@$(BIN)/python -m retrain test $(RETRAIN)
	@$(BIN)/python -m retrain.export --run $(DEMO)/retrain --formats onnx pt2
	@$(BIN)/python -m retrain.summary --run $(DEMO)/retrain

# A process for each core, up to eight: each holds about a gigabyte.
PARALLEL := -n auto --maxprocesses 8 --dist worksteal

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL)

# Would the tests notice a wrong line? 60 mutations, each in a copy of the checkout; some 15 minutes.
mutations: $(VENV)/.installed
	$(BIN)/python -m benchmarks.mutation_check --processes 2

# Apart from the program's environment, which it does not need: pages are built from text alone.
SITE := .site
FROM_PYPROJECT := import tomllib; \
  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])

$(SITE)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -c '$(FROM_PYPROJECT)' | tr ' ' '\n' > $(SITE)/needed.txt
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -r $(SITE)/needed.txt
	@touch $@

docs: $(SITE)/.installed
	$(SITE)/bin/mkdocs build

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Apart from the program's environment: what audits must not be among what is audited. Without --strict
# a package that could not be looked up would pass.
AUDIT := .audit
PIP_AUDIT := $(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off

$(AUDIT)/.installed:
	@$(PYTHON) -m venv $(AUDIT) && \
	  $(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	@touch $@

audit: $(AUDIT)/.installed
	$(PYTHON) .ci/lowest_versions.py > $(AUDIT)/lowest.txt
	$(PIP_AUDIT) -r constraints.txt
	$(PIP_AUDIT) -r $(AUDIT)/lowest.txt

clean:
	rm -rf $(VENV) $(AUDIT) $(SITE) site runs
