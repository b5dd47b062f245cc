# Everything runs from .venv, made from the lock files. Needed beforehand: make and python3 (3.11 or newer).

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
COMPILE := $(BIN)/uv pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet
# More arguments for the tool behind demo, test and bench: make test ARGS="-k lease".
ARGS ?=

# Without bytecode files every Ray worker process compiles its imports anew: 1.2 CPU-seconds instead of 0.5.
unexport PYTHONDONTWRITEBYTECODE
# Never act on another environment that happens to be active.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

# Trust the authorities that this machine trusts, as pip and curl do; behind a company proxy uv's own list fails.
export UV_SYSTEM_CERTS ?= true

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-services audit check bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# CHAOS and SHUFFLE_SEED reach the demo through the environment: make demo CHAOS=1 SHUFFLE_SEED=7.
demo: $(INSTALLED) ## Run a board with simulated agents here, print the result, leave nothing running
	$(BIN)/pm-agent demo $(ARGS)

test: $(INSTALLED) ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

# Other programs, not Python packages: what is missing is installed by apt, as root. .ci/run does it.
test-services: $(INSTALLED) ## Run the tests that need other programs: a browser
	tests/services/install
	$(BIN)/python -m pytest tests/services $(ARGS)

# A million steps under faults, and five times the rules against the reference model; 5 to 10 minutes.
test-long: $(INSTALLED) ## Run what the usual tests have no time for
	$(BIN)/python -m simulation check --seeds 200 --steps 5000
	PM_AGENT_TEST_RULES=25000 $(BIN)/python -m pytest tests/kernel/test_engine_stateful.py --timeout 1800 $(ARGS)
	PM_AGENT_TEST_REQUESTS=100000 PM_AGENT_TEST_EXAMPLES=30 $(BIN)/python -m pytest tests/api/test_fuzz.py tests/api/test_schemathesis.py --timeout 3600 $(ARGS)
	PM_AGENT_TEST_KILLS=10 $(BIN)/python -m pytest tests/actors/test_chaos.py tests/benchmarks/test_chaos_database.py --timeout 1800 $(ARGS)

# It asks the package index, of which a mirror may know nothing: ARGS=--where-possible lets that pass.
audit: $(INSTALLED) ## Look for known vulnerabilities in the locked packages
	$(BIN)/python scripts/audit_dependencies.py $(ARGS)

check: $(INSTALLED) ## Check format, lint, types, import contracts, and for insecure code and secrets
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --confidence-level medium --recursive pm_agent actors models simulation serve_app.py
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

bench: $(INSTALLED) ## Run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

lock: .venv/.uv ## Move both lock files to the newest versions that pyproject.toml allows
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	echo uv | $(COMPILE) --output-file requirements-uv.lock -

clean: ## Remove .venv, caches and build results
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.uv: requirements-uv.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	touch $@

.venv/.synced: .venv/.uv requirements.lock
	$(BIN)/uv pip sync --no-config --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	touch $@

# Apart from the above, so that a changed tool setting does not take the packages through another sync.
$(INSTALLED): .venv/.synced pyproject.toml
	$(BIN)/uv pip install --no-config --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
