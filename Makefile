# `make demo` and `make test` from a fresh clone need Python 3.11, make and the package registries.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= openvino postgres synthetic train web dev
PY := $(VENV)/bin/python
# By content, not by age: a fresh clone has new files but may have a ready environment.
STAMP := $(VENV)/.installed-$(shell (cat pyproject.toml constraints.txt; echo $(EXTRAS)) | cksum | cut -d' ' -f1)
VIDEO ?=

# The tests start the program hundreds of times: without byte code each start compiles it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check venv clean

venv: $(STAMP)

# Dependencies alone: the code runs from the checkout, so one environment can serve several.
$(STAMP):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Retrace needs Python 3.11 or later; run make PYTHON=...")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -c 'import tomllib, sys; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *(d for e in sys.argv[1:] for d in p["optional-dependencies"][e]), sep="\n")' $(EXTRAS) > $(VENV)/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt -c constraints.txt
	touch $@

demo: $(STAMP)
	$(PY) run_pipeline.py demo $(if $(VIDEO),--video "$(VIDEO)")

# The tests of real footage need the default detector; fetched once into the user's cache folder.
test: $(STAMP) check
	$(PY) run_pipeline.py weights fetch
	$(PY) -m pytest -n 2 --dist loadfile

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(PY) -m mypy
	PYTHONPATH=. $(VENV)/bin/lint-imports --no-cache

clean:
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache
