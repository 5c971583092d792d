# Every target does its own set-up on a fresh clone and reuses it afterwards.
#   make demo     find the directions of the shipped portrait model and write demo/report.html
#   make test     ruff, pyright, import-linter, pytest with doctests, the demo at small size
#   make mutants  plant named faults, one by one; each must be caught by its named test
#   make lint     the static checks alone
#   make page-check  open the report in a real browser (Debian's chromium) and move its sliders

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Where torch comes from, if not from pip's own index, whose Linux build brings CUDA: for a smaller installation give
# the address of PyTorch's CPU wheels, make demo TORCH_INDEX=...
TORCH_INDEX ?=
OUT    ?= demo

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test mutants lint page-check setup clean
.DEFAULT_GOAL := demo

setup: $(STAMP)

# torch goes first and alone, by its pin: a range would let another package's requirement pick a larger build.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/pullback discover portraits --out $(OUT)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -q
	rm -rf build/quick
	$(BIN)/pullback discover portraits --out build/quick --quick

mutants: $(STAMP)
	$(BIN)/python -m tools.mutants

page-check: $(STAMP)
	$(BIN)/python tools/page_check.py

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
