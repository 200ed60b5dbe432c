# One Makefile for people and for CI. `make help` lists the targets.
# Every environment is a folder beside this file, made on first use from a hash-locked file in requirements/ and made
# again only when that file or pyproject.toml changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
TORCH := torch==2.13.0+cpu

# The runtime of the service: `gpu` where an NVIDIA driver is present, `service` (CPU) elsewhere. `make serve RUNTIME=service` overrides.
RUNTIME ?= $(shell if [ "$$(uname -m)" = x86_64 ] && { [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1; }; then echo gpu; else echo service; fi)

# The CPU and the GPU build of ONNX Runtime break each other in one environment, so each has its own.
VENV := .venv$(if $(filter gpu,$(RUNTIME)),-gpu)
VENV_DEV ?= .venv-dev
VENV_LOCK := .venv-lock
VENV_AUDIT := .venv-audit
VENV_CLUSTER := .venv-cluster
VENV_PEERS := .venv-peers
VENV_CLIENTS := .venv-clients
DEV := $(VENV_DEV)/bin
MKDOCS = NO_MKDOCS_2_WARNING=1 $(DEV)/mkdocs

TESTS ?= tests
PYTEST_ARGS ?=
# Two processes, each with whole files, so that a file's servers and trained miniatures are made once; in random order, but
# long ones first (tests/conftest.py). PROCESSES=0 is one. Compiled modules are kept, whatever the environment says: a
# hundred programs start here.
PROCESSES ?= 2
EXECUTIONS ?= 1000000
SEED ?= 1
SECONDS ?= 600
BENCH ?=

.PHONY: help serve test test-ray test-docker test-prometheus check docs format smoke bench bench-peers fuzz soak audit sbom lock torch browser clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.installed ## Install the service if needed, then serve the shipped model on 127.0.0.1:8000
	$(VENV)/bin/photochrom serve

test: $(VENV_DEV)/.installed $(VENV_DEV)/.torch $(VENV_DEV)/.browser $(VENV_CLIENTS)/.node ## Install everything if needed, then run the whole test suite
	PYTHONDONTWRITEBYTECODE= OMP_WAIT_POLICY=PASSIVE $(DEV)/python -m pytest $(TESTS) --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV_DEV)/.installed ## Lint, format, types, layers, dependencies, spelling, documentation
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports
	$(DEV)/deptry .
	$(DEV)/codespell
	$(MKDOCS) build --quiet

docs: $(VENV_DEV)/.installed ## Build the documentation site into site/; a warning is an error
	$(MKDOCS) build
	@echo "Open site/index.html. For the search: $(PYTHON) -m http.server --directory site"

format: $(VENV_DEV)/.installed ## Rewrite the code as `make check` wants it
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

smoke: $(VENV_DEV)/.installed ## Train a tiny recipe on synthetic pictures, export it, serve a picture
	$(DEV)/python -m pytest tests/integration -m smoke $(PYTEST_ARGS)

test-docker: $(VENV_DEV)/.installed ## Build the images and run them with Compose; needs a running Docker engine
	$(DEV)/python -m pytest tests/docker $(PYTEST_ARGS)

bench: $(VENV_DEV)/.installed ## Measure what is promised to be fast, into benchmarks/results (BENCH="NAME ...")
	$(DEV)/python benchmarks/common.py $(BENCH)

# BentoML wants another OpenTelemetry than the service, and Ray is large: each has an environment of its own.
bench-peers: $(VENV_DEV)/.installed $(VENV_PEERS)/.installed $(VENV_PEERS)-bentoml/.installed $(VENV_CLUSTER)/.installed ## Compare the service with FastAPI alone, LitServe, BentoML and Ray Serve
	$(DEV)/python benchmarks/common.py peers

# Prometheus is no Python package. Where there is none and a package may be installed, Debian's is; it need not run.
test-prometheus: $(VENV_DEV)/.installed ## Provoke every alert, and let a real Prometheus scrape the real service
	@{ type -P promtool && type -P prometheus \
		|| { [ "$$(id -u)" = 0 ] && type -P apt-get && export DEBIAN_FRONTEND=noninteractive \
			&& apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 update \
			&& apt-get -qq install -y --no-install-recommends prometheus; }; } >/dev/null 2>&1 \
		|| { echo "make test-prometheus needs prometheus and promtool. Debian: apt-get install prometheus, as root."; exit 1; }
	$(DEV)/python -m pytest tests/prometheus $(PYTEST_ARGS)

test-ray: $(VENV_DEV)/.installed $(VENV_CLUSTER)/.installed ## Kill nodes, workers, and replicas of Ray clusters that run on this machine
	$(DEV)/python -m pytest tests/ray $(PYTEST_ARGS)

soak: $(VENV_DEV)/.installed ## Serve for ten minutes and watch the memory (SECONDS=)
	$(DEV)/python -m tests.soak --seconds $(SECONDS)

fuzz: $(VENV_DEV)/.installed ## Throw a million broken pictures at the probe and the decoders (EXECUTIONS=, SEED=)
	$(DEV)/python -m tests.fuzz_pictures --executions $(EXECUTIONS) --seed $(SEED)

audit: $(VENV_AUDIT)/.installed ## Ask the advisory databases about every locked package (needs the network)
	$(VENV_AUDIT)/bin/pip-audit --require-hashes --disable-pip $(foreach part,service gpu training dev,-r requirements/$(part).txt)

sbom: $(VENV_AUDIT)/.installed ## Write the bill of materials of the service, CycloneDX JSON: sbom.json, sbom-gpu.json
	$(VENV_AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json requirements/service.txt
	$(VENV_AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom-gpu.json requirements/gpu.txt

# Makes an environment: $(call install,FOLDER,REQUIREMENTS,NEWEST), NEWEST being the newest Python 3 that it runs on. The
# project itself goes in as links to this folder, built by the locked setuptools, so that no step downloads anything
# without a hash.
define install
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, $(3)) else "$(2) needs Python 3.11 to 3.$(3), but $(PYTHON) is %d.%d. Name another one: make $(MAKECMDGOALS) PYTHON=python3.$(3)" % v)'
	@echo "Making $(1) from $(2); the first time takes some minutes."
	test -x $(1)/bin/pip || $(PYTHON) -m venv --clear $(1)
	@echo "Installing $$(grep -c == $(2)) packages ..."
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
	@echo "Installing Photochrom itself ..."
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(1)/.installed
endef

# TensorFlow has no wheel for Python 3.14 yet; the service does not need it.
NEWEST := 14
NEWEST_DEV := 13

$(VENV_AUDIT)/.installed: requirements/audit.txt
	$(call install,$(VENV_AUDIT),$<,$(NEWEST))

$(VENV_CLUSTER)/.installed: requirements/cluster.txt pyproject.toml
	$(call install,$(VENV_CLUSTER),$<,$(NEWEST))

$(VENV_PEERS)/.installed: requirements/peers.txt pyproject.toml
	$(call install,$(VENV_PEERS),$<,$(NEWEST))

$(VENV_PEERS)-bentoml/.installed: requirements/peers-bentoml.txt pyproject.toml
	$(call install,$(VENV_PEERS)-bentoml,$<,$(NEWEST))

$(VENV_CLIENTS)/.installed: requirements/clients.txt
	$(call install,$(VENV_CLIENTS),$<,$(NEWEST))

# The TypeScript client is generated and run where there is a node; where there is none, its test is skipped.
$(VENV_CLIENTS)/.node: $(VENV_CLIENTS)/.installed tests/clients/package-lock.json
	@cp tests/clients/package.json tests/clients/package-lock.json $(VENV_CLIENTS)
	@{ type -P node && timeout 180 npm ci --prefix $(VENV_CLIENTS) --ignore-scripts --no-audit --no-fund; } >/dev/null 2>&1 \
		|| echo "No node, or no package index of it, is here: the test of the TypeScript client will be skipped."
	@touch $@

$(VENV)/.installed: requirements/$(RUNTIME).txt pyproject.toml
	$(call install,$(VENV),$<,$(NEWEST))

$(VENV_DEV)/.installed: requirements/dev.txt pyproject.toml
	$(call install,$(VENV_DEV),$<,$(NEWEST_DEV))

# `+cpu` names the build without CUDA, which not every package index has; pip then says so at once and the tests marked
# `torch` are skipped. What torch itself depends on is locked in requirements/dev.txt.
$(VENV_DEV)/.torch: $(VENV_DEV)/.installed
	@$(DEV)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: '$(TORCH)' \
		|| echo "pip finds no $(TORCH) here: the tests marked torch will be skipped."
	@touch $@

torch: ## Try again to install the CPU build of torch, for the tests marked torch
	@rm -f $(VENV_DEV)/.torch
	@$(MAKE) --no-print-directory $(VENV_DEV)/.torch

# The tests of the page drive an installed Chromium. Where there is none and a package may be installed, Debian's is;
# where that fails they are skipped.
$(VENV_DEV)/.browser: $(VENV_DEV)/.installed
	@{ type -P chromium || type -P chromium-browser || type -P google-chrome \
		|| { [ "$$(id -u)" = 0 ] && type -P apt-get && export DEBIAN_FRONTEND=noninteractive \
			&& apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 update \
			&& apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; }; } >/dev/null 2>&1 \
		|| echo "No Chromium is installed here: the tests of the page will be skipped."
	@touch $@

browser: ## Look again for a Chromium, or install one, for the tests of the page
	@rm -f $(VENV_DEV)/.browser
	@$(MAKE) --no-print-directory $(VENV_DEV)/.browser

$(VENV_LOCK)/.installed-$(UV_VERSION):
	$(PYTHON) -m venv $(VENV_LOCK)
	$(VENV_LOCK)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: uv==$(UV_VERSION)
	@touch $@

# The development environment holds everything and is resolved first; the others take their versions from it.
# `make lock UPGRADE=--upgrade` moves to the newest versions that pyproject.toml allows.
UPGRADE ?=
COMPILE = $(VENV_LOCK)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --group build $(UPGRADE)

lock: $(VENV_LOCK)/.installed-$(UV_VERSION) ## Write requirements/*.txt again from pyproject.toml
	$(COMPILE) --extra service --extra video --extra heic --extra openvino --extra training --extra export --extra docs --extra dev --output-file requirements/dev.txt
	$(COMPILE) --extra service --constraints requirements/dev.txt --output-file requirements/service.txt
	$(COMPILE) --extra gpu --constraints requirements/dev.txt --output-file requirements/gpu.txt
	$(COMPILE) --extra video --constraints requirements/dev.txt --output-file requirements/video.txt
	$(COMPILE) --extra heic --constraints requirements/dev.txt --output-file requirements/heic.txt
	$(COMPILE) --extra openvino --constraints requirements/dev.txt --output-file requirements/openvino.txt
	$(COMPILE) --extra training --extra export --constraints requirements/dev.txt --output-file requirements/training.txt
	$(COMPILE) --extra cluster --constraints requirements/dev.txt --output-file requirements/cluster.txt
	$(COMPILE) --extra peers --constraints requirements/dev.txt --output-file requirements/peers.txt
	$(COMPILE) --extra peers-bentoml --output-file requirements/peers-bentoml.txt
	$(COMPILE) --extra clients --output-file requirements/clients.txt
	$(COMPILE) --extra training-gpu --constraints requirements/dev.txt --output-file requirements/training-gpu.txt
	$(COMPILE) --extra audit --output-file requirements/audit.txt

clean: ## Remove caches and build products; environments stay
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +
