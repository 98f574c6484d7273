# make demo   a small shop whose photographs are latents, at a printed address
# make test   everything that can run here
# make lint   ruff and mypy
# make benchmark-codec   ours beside JPEG, WebP, AVIF and JPEG XL; takes hours
# make benchmark-delivery  beside other image apps for Django, which it installs
# make benchmark-client  what it is worth that the browser decodes
# make build  sdist and wheel, in dist/
# make client  the browser's decoder, into django_latentimg/static; needs Node
# make client-test  its tests, against what Python decodes
#
# PYTHON makes the virtual environment, VENV is its folder, ADDRESS is where the demo serves,
# PYTEST_ARGS goes to pytest, BENCHMARK_ARGS to the benchmark.

PYTHON ?= python3
VENV ?= .venv
ADDRESS ?= 127.0.0.1:8000
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

python := $(VENV)/bin/python
# A process more than there are cores, for many tests wait; what a module's tests share they share.
processes := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
pytest := OMP_NUM_THREADS=1 $(python) -m pytest --numprocesses $(processes) --dist loadfile \
	--no-loadscope-reorder
pip_install := $(python) -m pip install --disable-pip-version-check
demo_installed := $(VENV)/.demo-installed
dev_installed := $(VENV)/.dev-installed
postgres_answers := $(python) -m django dbshell --settings tests.settings_postgres \
	-- --no-password --command "SELECT 1" >/dev/null 2>&1

.PHONY: demo test lint build client client-test benchmark-codec benchmark-delivery \
	benchmark-client

demo: $(demo_installed)
	$(python) example_project/manage.py demo --address $(ADDRESS)

test: $(dev_installed)
	$(pytest) $(PYTEST_ARGS)
	@if $(postgres_answers); then \
		set -x; \
		$(pytest) --ds tests.settings_postgres $(PYTEST_ARGS) \
			tests/test_compression.py tests/test_fields.py tests/test_report.py \
			tests/test_operations.py tests/test_restore.py \
			tests/postgres; \
	else \
		echo "PostgreSQL does not answer: its round of tests is left out."; \
	fi
	@if command -v npm >/dev/null; then \
		$(MAKE) client-test; \
	else \
		echo "There is no Node: the client's own tests are left out."; \
	fi

lint: $(dev_installed)
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	PYTHONPATH=example_project $(python) -m mypy --config-file example_project/mypy.ini

benchmark-codec: $(dev_installed)
	$(python) -m benchmarks.codec $(BENCHMARK_ARGS)

benchmark-delivery: $(dev_installed)
	$(pip_install) -r requirements-peers.txt
	$(python) -m benchmarks.delivery $(BENCHMARK_ARGS)

benchmark-client: $(dev_installed)
	$(pip_install) -r requirements-peers.txt
	$(python) -m benchmarks.client $(BENCHMARK_ARGS)

build: $(dev_installed)
	$(python) -m build

client:
	cd client && npm ci && npm run build

client-test: $(dev_installed)
	cd client && npm ci && PYTHON=$(abspath $(python)) npm test && npm run check

# The stamps make every run but the first start at once. The interpreter is an order-only
# prerequisite, because the age of what it links to means nothing.
$(demo_installed): requirements-demo.txt pyproject.toml | $(python)
	$(pip_install) -r requirements-demo.txt
	@touch $@

$(dev_installed): requirements-dev.txt requirements-demo.txt pyproject.toml | $(python)
	$(pip_install) -r requirements-dev.txt
	@touch $@

$(python):
	$(PYTHON) -m venv $(VENV)
