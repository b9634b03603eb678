# `make demo` and `make test` are all a newcomer needs; both install what is missing first.
SHELL := /bin/bash
PY := .venv/bin/python
PORTABLE := src/sealwright/artifact src/sealwright/envelope src/sealwright/formats src/sealwright/trust src/sealwright/log src/sealwright/keys src/sealwright/pki src/sealwright/signing

.DEFAULT_GOAL := help
.PHONY: help install demo demo-boot test lint fix bench findings verifiers soak fuzz-service soak-service soak-machine test-units bundle

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

install: ## make .venv and install what is missing (Debian packages with root or sudo)
	@scripts/install

demo: install ## one plant's story: sign, ship, verify, refuse; about a minute
	@$(PY) demo/run.py

demo-boot: install ## a machine with Secure Boot starts what we signed and refuses the rest; about a minute
	@$(PY) demo/boot.py

lint: install ## formatting, style, types, and the rooms' imports
	@.venv/bin/ruff format --check -q . && .venv/bin/ruff check -q .
	@.venv/bin/mypy --platform win32 --cache-dir .mypy_cache/win32 $(PORTABLE) & windows=$$!; .venv/bin/mypy; own=$$?; wait $$windows && exit $$own
	@.venv/bin/lint-imports

fix: install ## format and repair what can be repaired
	@.venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .

findings: install ## write docs/findings.md from the code's table
	@$(PY) scripts/findings.py > docs/findings.md

verifiers: install ## write docs/verifiers.md from what the real verifiers answer
	@$(PY) -m pytest -n 2 tests/interop/test_table.py -k "accepts" --write-verifiers docs/verifiers.md

test: lint ## everything that CI runs; ends with pytest's closing line
	@$(PY) -m pytest -n 3 --dist worksteal --durations 20 --durations-min 5

bundle: install ## dist/: what a machine without network installs or carries (docs/bundle.md)
	@PYTHONPATH=src:scripts $(PY) -m bundling

soak: install ## longer fuzzing of every parser and of certificate paths (twenty minutes)
	@SEALWRIGHT_FUZZ=long $(PY) -m pytest -n 2 -k "mutation or any_bytes or path_generated" --timeout 1200

fuzz-service: install ## ask the signing service's API at random for longer
	@SEALWRIGHT_FUZZ=long $(PY) -m pytest -n 2 tests/service/test_api_properties.py --timeout 1200

soak-service: install ## a signing service under load for ten minutes while its parts are killed, and the count afterwards
	@$(PY) scripts/soak_service.py

soak-machine: install ## an emulated machine is switched off at 48 points of an installation, and the count afterwards
	@$(PY) scripts/soak_machine.py

test-units: install ## the units of deploy/ under a real systemd, as root; a minute and a half
	@$(PY) scripts/try_units.py

bench: install ## ratios against named peers, measured in the same run
	@test -x .venv-bench/bin/model_signing || { echo "installing model_signing, a peer of the benchmarks, into .venv-bench"; \
	    $(PY) -m venv .venv-bench && .venv-bench/bin/pip install -q --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/bench.txt; }
	@for program in $$(ls bench/*.py | grep -Ev 'peers|artifacts'); do echo "== $$program"; $(PY) $$program || exit 1; done
