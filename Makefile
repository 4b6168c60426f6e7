# The same commands by hand, in CI and in the README. `make demo` and `make test` need Python 3.11+, make and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: setup demo test test-all test-engines test-browser check bench bench-features bench-scoring lock words docs screenshots clean

setup: $(VENV)/.runtime

demo: setup
	$(BIN)/renewals demo

test: $(VENV)/.dev
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not spark and not browser" tests

# The same features on Spark Connect, real Spark (where there is Java) and PostgreSQL; prints how many are equal.
test-engines: $(VENV)/.dev $(VENV)/spark/.there
	SPARK_HOME=$(VENV)/spark/pyspark $(BIN)/python -m pytest -m "not browser" tests/engines

# The page in a real browser: Chromium and, for Chinese, the Noto CJK fonts are the system's own packages.
test-browser: $(VENV)/.dev $(VENV)/.browser
	$(BIN)/python -m pytest -s -m browser tests/browser

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python bench/learning_curve.py
	$(BIN)/python bench/openstack.py
	$(BIN)/python bench/crm.py
	$(BIN)/python bench/ablation.py
	$(BIN)/python bench/forecast.py
	$(BIN)/python bench/null.py
	$(BIN)/python bench/reasons.py
	$(BIN)/python bench/alerts.py
	$(BIN)/python bench/effect.py
	$(BIN)/python bench/ranking.py
	$(BIN)/python bench/feedback.py
	$(BIN)/python bench/closed_months.py
	$(BIN)/python bench/ledger.py
	$(BIN)/python bench/history.py
	$(MAKE) --no-print-directory bench-features bench-scoring

# EVENTS=100e6 or 500e6 for the published sizes; peers are tried up to ten million.
EVENTS ?= 10e6
bench-features: setup $(VENV)/peers/.there
	$(BIN)/python bench/features.py --events $(EVENTS) --peers-python $(VENV)/peers/bin/python

# FASTTREESHAP=PYTHON has FastTreeSHAP: it comes as source only and needs numpy<2, so no lock here can hold it.
FASTTREESHAP ?= $(BIN)/python
bench-scoring: setup
	$(BIN)/python bench/scoring.py --fasttreeshap-python $(FASTTREESHAP)

# Installed from the lock, each file checked against its hash; then this project, in place.
$(VENV)/.runtime: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	touch $@

$(VENV)/.browser: $(VENV)/.dev requirements-browser.lock
	$(PIP) install --require-hashes --no-deps --requirement requirements-browser.lock
	touch $@

# A whole Spark, beside the small client that the tests themselves use.
$(VENV)/spark/.there: requirements-engines.lock
	$(PIP) install --require-hashes --no-deps --upgrade --target $(VENV)/spark --requirement requirements-engines.lock
	touch $@

$(VENV)/peers/.there: requirements-peers.lock
	test -x $(VENV)/peers/bin/python || $(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement requirements-peers.lock
	touch $@

# Brings each translation up to the English of today; what has no translation yet, or an older one, is marked for a person.
words: setup
	$(BIN)/pybabel update --input-file reports/words/renewals.pot --output-file reports/words/zh.po --locale zh_Hans_CN --width 120

# Pages that are written from the code.
docs: setup
	$(BIN)/python docs/architecture.py
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/features.py
	$(BIN)/python docs/contracts_page.py

# The pictures of the README, from the list of `make demo`; see docs/screenshots.py for what it needs.
screenshots: $(VENV)/.browser
	$(BIN)/python docs/screenshots.py

# Needs uv. The lock names versions and hashes, and no index.
lock:
	uv pip compile --universal --generate-hashes --no-header --no-annotate --upgrade pyproject.toml --group build --extra postgres -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --upgrade pyproject.toml --group dev --extra postgres -c requirements.lock -o requirements-dev.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --upgrade --group engines -o requirements-engines.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --upgrade --group peers -o requirements-peers.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --upgrade --group browser -o requirements-browser.lock

# What the next run makes anew. Tables, answers, models and published lists stay.
clean:
	rm -rf build dist $(foreach folder,data demo,$(addprefix $(folder)/,clean quarantine rollup learn act backtest))
