# All a clone needs is Python ≥ 3.11, make and the package registries: uv is put into .tools/ where it is absent.
UV_VERSION := 0.13.9
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
# In front of PATH, so that tests that run `uv` find this one.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: demo test lint screenshots up install clean

demo: install  ## train a model and classify a digit with it, in about a minute
	$(UV) run --no-sync numeral demo

test: install  ## everything that CI runs besides lint
	$(UV) run --no-sync pytest

lint: install  ## format, lint, types, import contracts, migrations
	$(UV) run --no-sync ruff format --check .
	$(UV) run --no-sync ruff check .
	$(UV) run --no-sync mypy
	$(UV) run --no-sync lint-imports
	$(UV) lock --check
	rm -rf .tools/migrations && NUMERAL_DATA_DIR=.tools/migrations $(UV) run --no-sync sh -c "alembic upgrade head && alembic check"

screenshots: install  ## pictures of the dashboard in .tools/screenshots, and the README's; needs chromium
	$(UV) run --no-sync python tests/web/screenshots.py .tools/screenshots
	cp .tools/screenshots/draw-1280-light.png docs/dashboard.png

up: install  ## run the service on http://127.0.0.1:8000
	$(UV) run --no-sync numeral up

install: $(UV)  ## the environment that uv.lock describes
	$(UV) sync --frozen --quiet

# A virtual environment where Python has one; Debian's python3 without python3-venv still has pip's --target.
.tools/bin/uv:
	$(PYTHON) -m venv .tools/venv 2>/dev/null && .tools/venv/bin/pip install --quiet uv==$(UV_VERSION) \
		|| $(PYTHON) -m pip install --quiet --target .tools/pip uv==$(UV_VERSION)
	mkdir -p .tools/bin && ln -sf $$(ls $(CURDIR)/.tools/venv/bin/uv $(CURDIR)/.tools/pip/bin/uv 2>/dev/null | head -1) $@

clean:  ## what was installed and built here; not numeral-data
	rm -rf .tools .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
