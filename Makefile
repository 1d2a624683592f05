# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs. Start with `make demo`.

PYTHON ?= python3
export PYTHON
# The Python that bootstrap.sh looked at, and no other that uv might prefer or download.
export UV_PYTHON ?= $(shell command -v $(PYTHON))
export UV_PYTHON_DOWNLOADS ?= never
# Images of Python set it. Without bytecode every process that a test starts compiles all its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --locked --quiet
CONFIG ?= hcc-cds.toml

.DEFAULT_GOAL := help
.PHONY: help demo serve test check format bench bench-ingest bench-radiomics bench-hooks model docs pythons setup peers clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Install the locked dependencies into .venv
	@sh scripts/bootstrap.sh
	@$(UV) sync --locked --quiet

demo: setup ## One study end to end: PACS in, structured report out, card at ordering time
	@$(RUN) hcc-cds demo

serve: setup ## Run the service with the settings in CONFIG (default hcc-cds.toml, if there)
	@$(RUN) hcc-cds $(if $(wildcard $(CONFIG)),--config $(CONFIG)) serve

check: setup ## Format, lint, types, import contracts, generated documentation
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) hcc-cds settings --check docs/settings.md
	@$(RUN) hcc-cds conformance --check docs/conformance.md
	@$(RUN) python scripts/collect_texts.py --check
	@$(RUN) hcc-cds rules --check docs/rules.md

format: setup ## Format the code and write the generated documentation anew
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .
	@$(RUN) hcc-cds settings > docs/settings.md
	@$(RUN) hcc-cds conformance > docs/conformance.md
	@$(RUN) hcc-cds rules > docs/rules.md
	@$(RUN) python scripts/collect_texts.py
	@$(RUN) python -c "from cds_service.openapi import openapi_text; print(openapi_text(), end='')" > docs/openapi.json

peers: # Bring the programs that tests talk to
	@sh scripts/install-peers.sh

test: setup peers check ## Everything: check, unit and integration tests with real peers
	@$(RUN) pytest -n 2 --dist loadgroup

bench: setup ## Every benchmark; each prints one JSON line last
	@for each in benchmarks/bench_*.py; do echo "== $$each"; $(RUN) python $$each || exit 1; done

bench-ingest: setup ## Receiving beside Orthanc, pynetdicom and DCMTK
	@$(RUN) python benchmarks/bench_ingest.py

bench-radiomics: setup ## Radiomics beside stock pyradiomics, and through the whole service
	@$(RUN) python benchmarks/bench_radiomics.py

bench-hooks: setup ## CDS Hooks under load, beside a bare Flask route, while a lesion is measured
	@$(RUN) python benchmarks/bench_hooks.py --measuring

model: setup ## Make the demonstration bundle anew; the same bytes every time
	@$(RUN) hcc-cds model demonstration --out model/artifacts/demonstration.hccbundle

pythons: setup ## Install the lock on each supported Python on this machine, and run the unit tests there
	@for each in 3.11 3.12 3.13; do \
	  UV_PYTHON= $(UV) python find $$each >/dev/null 2>&1 || { echo "== Python $$each is not on this machine"; continue; }; \
	  echo "== Python $$each"; \
	  UV_PYTHON= UV_PROJECT_ENVIRONMENT=.venv-$$each $(UV) run --locked --quiet --python $$each pytest -q tests/unit || exit 1; \
	done

clean: ## Remove environments, caches and local data
	rm -rf .venv .venv-3* .uv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
