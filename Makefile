# Everything runs in .venv; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-ray test-spark test-snowflake test-bigquery lint bench lock clean

demo: $(INSTALLED)
	$(BIN)/guardian demo --dir simshop-demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

# The tests that need the extra `ray`, in an environment of their own.
test-ray: $(INSTALLED)
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -e ".[ray]"
	.venv-ray/bin/pytest tests/tools/retrain/test_ray.py tests/tools/serving/test_batch_cluster.py $(ARGS)

# The tests that need the extra `spark` and Java 17, in an environment of their own.
test-spark: $(INSTALLED)
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -e ".[spark]"
	.venv-spark/bin/pytest tests/tools/systems/test_spark.py tests/tools/check_drift/test_inside.py tests/tools/deploy/test_labelled_answers.py tests/tools/serving/test_batch_cluster.py $(ARGS)

# The tests that need the extra `snowflake`, in an environment of their own, and fakesnow in another.
test-snowflake: $(INSTALLED)
	$(PYTHON) -m venv .venv-fakesnow
	.venv-fakesnow/bin/pip install --quiet --disable-pip-version-check "fakesnow[server]>=0.12.1,<0.13" "snowflake-connector-python>=4,<5"
	$(PYTHON) -m venv .venv-snowflake
	.venv-snowflake/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -e ".[snowflake]"
	GUARDIAN_FAKESNOW=.venv-fakesnow/bin/fakesnow .venv-snowflake/bin/pytest tests/tools/systems/test_snowflake.py tests/tools/check_drift/test_inside.py tests/tools/deploy/test_labelled_answers.py $(ARGS)

# The tests that need the extra `bigquery`, in an environment of their own; the fake they speak to is among them.
test-bigquery: $(INSTALLED)
	$(PYTHON) -m venv .venv-bigquery
	.venv-bigquery/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -e ".[bigquery]"
	.venv-bigquery/bin/pytest tests/tools/systems/test_bigquery.py tests/tools/check_drift/test_inside.py tests/tools/deploy/test_labelled_answers.py $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m evals.benchmarks $(ARGS)

$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-virtualenv -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(INSTALLED)

# Refreshes requirements.lock from pyproject.toml.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .venv-ray .venv-spark .venv-snowflake .venv-fakesnow .venv-bigquery simshop-demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache
