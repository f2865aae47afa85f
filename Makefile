# make demo: search, retrain, test and export on the embedded digits. make test: the tests.
# Both create .venv and install what they need; running them twice is safe.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python '>=3.11,<3.14' $(VENV) && \
	  uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/python -m search fit -c configs/digits/search.yaml --run runs/demo/search $(DEMO_SEARCH)
	@$(BIN)/python -m retrain fit -c configs/digits/retrain.yaml --run runs/demo/retrain \
	  --model.arch runs/demo/search/arch.json $(DEMO_RETRAIN)
	@$(BIN)/python -m retrain test -c configs/digits/retrain.yaml --run runs/demo/retrain \
	  --model.arch runs/demo/search/arch.json
	@$(BIN)/python -m retrain.export --run runs/demo/retrain --formats onnx pt2
	@$(BIN)/python -m retrain.summary --run runs/demo/retrain

test: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs
