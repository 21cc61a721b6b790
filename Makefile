# Set-up and checks. The README gives the plain commands behind these targets, for machines without make.
PYTHON ?= python3
export OMP_WAIT_POLICY := PASSIVE

bin := .venv/bin
first := /lab/tree/notebooks/00_first_photograph.ipynb
as_root := $(if $(filter 0,$(shell id -u)),--allow-root)
too_old := 'This course needs Python 3.11 or newer, but $(PYTHON) is ' + sys.version.split()[0] + '. Try: make PYTHON=python3.12'
nbval := --nbval-lax --nbval-current-env --nbval-cell-timeout=120

.PHONY: help lab test notebooks lint check execute slides widgets workbench book benchmarks
.DELETE_ON_ERROR:

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

lab: .venv/.installed  ## open the course in JupyterLab (installs it first if needed; keeps your work)
	$(bin)/python tools/lessons.py build --keep-work && $(bin)/jupyter lab $(as_root) --LabApp.default_url=$(first)

test: .venv/.installed check  ## run every check and test, all notebooks among them
	OMP_NUM_THREADS=1 $(bin)/python -m pytest $(nbval) -n 2 --dist loadfile tests notebooks exercises solutions

notebooks: .venv/.installed  ## build all notebooks from lessons_src/ (edits made in notebooks are lost)
	$(bin)/python tools/lessons.py build

lint: .venv/.installed  ## tidy the code: ruff's fixes and format
	$(bin)/ruff check --fix && $(bin)/ruff format

check: .venv/.installed  ## change nothing; complain about untidy or dead code, wrong types, broken links, notebooks unlike their sources
	$(bin)/ruff check && $(bin)/ruff format --check && $(bin)/python tools/lessons.py check
	$(bin)/python tools/links.py && $(bin)/vulture && $(bin)/mypy

widgets: .venv/.installed  ## open every lesson in a browser and move its widget by keyboard (15 minutes)
	XAILIB_PROFILE=quick OMP_NUM_THREADS=1 $(bin)/python -m pytest -s tests/browser_lessons.py

workbench: .venv/.installed  ## open the workbench, any photograph and any network, as an app in the browser
	$(bin)/voila notebooks/workbench.ipynb

execute: .venv/.installed  ## run all lessons and solutions into build/executed/, for reading
	$(bin)/python tools/lessons.py execute -j 2

slides: .venv/.installed  ## one HTML file of slides for each lesson, in build/slides/ (with figures after make execute)
	$(bin)/python tools/slides.py

book: .venv/.installed  ## lessons and reference as pages, in build/book/html/ (lessons that have not run, run first)
	$(bin)/python tools/book.py -j 2

benchmarks: .venv/.installed  ## measure costs beside public libraries, into results/ (an hour and a half, on a quiet machine)
	$(bin)/python -m pip install --disable-pip-version-check -q -e ".[reference]"
	for name in cam perturbation metrics denoising planted; do XAILIB_RESULTS=results $(bin)/python benchmarks/$$name.py || exit; done
	$(bin)/python benchmarks/summary.py

.venv/.installed: pyproject.toml | .venv/bin/python
	$(bin)/python -m pip install --disable-pip-version-check -e ".[dev]" && touch $@

.venv/bin/python:
	@$(PYTHON) -c "import sys; sys.exit($(too_old) if sys.version_info < (3, 11) else 0)" && $(PYTHON) -m venv .venv
