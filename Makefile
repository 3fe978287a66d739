# Taxonflow. `make help` lists the targets; each target installs the environment if needed.
SHELL := /bin/bash
PYTHON ?=
OUT ?= runs
PRESET ?= sample
SEED ?= 0
SPECIMENS ?= 20
PORT ?= 8080
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UPGRADE ?=
PINS := --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url $(UPGRADE)
IMAGE_PINS := $(PINS) --python-platform x86_64-unknown-linux-gnu
LOCKED_PLATFORMS := x86_64-unknown-linux-gnu aarch64-apple-darwin
LOCKED_VERSIONS := 3.11 3.12 3.13
STALE := $(shell bash scripts/environment.sh check $(VENV) "$(PYTHON)")
TARGETS := python-cpu python-gpu serving monitoring
ENGINE ?= $(notdir $(firstword $(foreach tool,docker podman buildah,$(shell command -v $(tool)))))
TAG ?= 0.1.0
# Values reach the recipes as the user typed them, in the environment: neither make nor the shell interprets them.
DOLLAR := $$
define AS_TYPED
override $(1) := $$(subst $$(DOLLAR)$$(DOLLAR),$$(DOLLAR),$$(value $(1)))
export $(1)
endef
$(foreach name,OUT VOLUMES PHOTOS IMAGES PRESET BACKBONES THRESHOLD DOUBTFUL_MASKS RARE_SPECIES SEED MODEL SPECIMENS PORT,$(eval $(call AS_TYPED,$(name))))
export TF_CPP_MIN_LOG_LEVEL ?= 3
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run serve ask monitor demo dashboards docs pictures phantoms compile submit test test-all benchmark figures images digests lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install the environment into .venv (the other targets do it if needed): [PYTHON=path]

$(READY): requirements.lock pyproject.toml $(STALE)
	@bash scripts/environment.sh install $(VENV) "$(PYTHON)"

.PHONY: stale
stale: # a prerequisite of an environment that was moved, is broken or runs another Python than PYTHON

run: $(READY) ## train, evaluate, deploy and send a first request: [PRESET=sample] [VOLUMES=dir-or-manifest.csv] [PHOTOS=dir-or-manifest.csv] [BACKBONES=a,b] [THRESHOLD=0.95] [DOUBTFUL_MASKS=refuse] [RARE_SPECIES=train] [SEED=0] [OUT=runs]
	@$(BIN)/python -m pipelines.run --preset="$$PRESET" --volumes="$$VOLUMES" --photos="$$PHOTOS" --backbones="$$BACKBONES" --threshold="$$THRESHOLD" --doubtful-masks="$$DOUBTFUL_MASKS" --rare-species="$$RARE_SPECIES" --seed="$$SEED" --out="$$OUT"

serve: $(READY) ## serve the deployed models: [PORT=8080] [OUT=runs]
	@$(BIN)/python -m serving --repository="$$OUT/models" --events="$$OUT/events" --port="$$PORT"

ask: $(READY) ## classify images with the server: [IMAGES="a.png folder"] [MODEL=name] [PORT=8080] [OUT=runs]
	@$(BIN)/python -m serving.client --url "http://127.0.0.1:$$PORT" --model="$$MODEL" --images="$$IMAGES" --examples="$$OUT/models"

monitor: $(READY) ## monitor the predictions for drift, with web pages: [OUT=runs] [PORT=8080]
	@$(BIN)/python -m monitoring.local_stack --repository="$$OUT/models" --events="$$OUT/events" --out="$$OUT/monitoring" --server-port="$$PORT"

demo: $(READY) ## demonstrate the monitor with clean traffic, an artefact and an unseen species: [OUT=runs] [PRESET=sample] [SEED=0]
	@$(BIN)/python -m pipelines.local.demo --out="$$OUT" --preset="$$PRESET" --seed="$$SEED"

dashboards: $(READY) ## generate Grafana dashboards, alert rules and the table of metrics
	@$(BIN)/python -m monitoring.alerting.generate

docs: $(READY) ## generate the reference pages of presets and keys in docs/reference
	@$(BIN)/python -m pipelines.reference_pages

pictures: $(READY) ## generate the console output in README.md and docs/images from the latest run: [OUT=runs]
	@$(BIN)/python -m tests.pictures --out="$$OUT"

phantoms: $(READY) ## generate synthetic specimens and their contact sheet: [SPECIMENS=20] [SEED=0] [OUT=runs]
	@$(BIN)/python -m components.phantoms --out="$$OUT/phantoms" --specimens="$$SPECIMENS" --seed="$$SEED"

compile: $(READY) ## compile the pipelines to YAML, with the resources of a preset: [PRESET=fossil] [OUT=runs]
	@$(BIN)/python -m pipelines.compile --preset="$$PRESET" --out="$$OUT/compiled"

submit: $(READY) ## upload a pipeline to Kubeflow and start a run: HOST=https://... [PRESET=fossil] [SET="volumes=s3://bucket/scans seed=1"] [PIPELINE=drift] [EVERY="0 0 4 * * *"]
	@$(BIN)/python -m pipelines.submit --host "$(HOST)" --preset="$$PRESET" $(if $(PIPELINE),--pipeline "$(PIPELINE)") $(if $(EVERY),--every "$(EVERY)") $(foreach setting,$(SET),--set "$(setting)")

test: $(READY) ## run the fast tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not cluster" $(PYTEST_OPTIONS)

test-all: $(READY) ## run all tests, including the slow ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not cluster" $(PYTEST_OPTIONS)

benchmark: $(READY) ## run benchmarks and compare each with its reference: [ONLY=prefix-of-a-name] [OUT=runs]
	@$(BIN)/python -m tests.benchmarks --only "$(ONLY)" --out="$$OUT"

figures: $(READY) ## run all benchmarks and generate tests/benchmarks/FIGURES.md: [OUT=runs]
	@rm -f "$$OUT/benchmarks.json"
	@$(BIN)/python -m tests.benchmarks --out="$$OUT" && $(BIN)/python -m tests.benchmarks.figures "$$OUT/benchmarks.json"

images: ## build the container images: [REGISTRY=registry.example.org] [TAG=0.1.0] [TARGETS=serving] [ENGINE=docker]
	@test -n "$(ENGINE)" || { echo "No container engine found: install docker, podman or buildah, or set ENGINE=path"; exit 2; }
	@for image in $(TARGETS); do echo "[images] $$image"; $(ENGINE) build $(BUILD_OPTIONS) --file manifests/images/Dockerfile --target $$image \
	  --build-arg REGISTRY="$(REGISTRY)" --build-arg TAG="$(TAG)" --tag $(if $(REGISTRY),$(REGISTRY)/)taxonflow/$$image:$(TAG) . || exit 1; done

digests: $(READY) ## push the images and pin them by digest in the manifests: REGISTRY=registry.example.org [TAG=0.1.0] [ENGINE=docker]
	@test -n "$(ENGINE)" || { echo "No container engine found: install docker, podman or buildah, or set ENGINE=path"; exit 2; }
	@$(BIN)/python -m pipelines.image_digests --engine "$(ENGINE)" --registry "$(REGISTRY)" --tag "$(TAG)" --options="$(PUSH_OPTIONS)"

lint: $(READY) ## run ruff, and mypy for Linux and macOS
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy && $(BIN)/python -m mypy --platform darwin

lock: $(READY) ## resolve the dependencies and write the lock files; locked versions are kept: [UPGRADE=--upgrade]
	@$(BIN)/python -m uv pip compile $(PINS) --universal --extra dev --extra registry --generate-hashes pyproject.toml -o requirements.lock
	@awk -f scripts/lock_markers.awk requirements.lock > requirements.lock.new && mv requirements.lock.new requirements.lock
	@for platform in $(LOCKED_PLATFORMS); do for version in $(LOCKED_VERSIONS); do echo "[lock] wheels for Python $$version, $$platform"; \
	  $(BIN)/python -m uv pip compile --quiet --no-deps --only-binary :all: --no-binary kfp-server-api --python-platform $$platform --python-version $$version requirements.lock > /dev/null || exit 1; done; done
	@for image in components training serving monitoring; do $(BIN)/python -m uv pip compile $(IMAGE_PINS) -c requirements.lock manifests/images/$$image.in -o manifests/images/$$image.txt || exit 1; done
	@$(BIN)/python -m uv pip compile $(IMAGE_PINS) --generate-hashes -c requirements.lock -c manifests/images/training.txt manifests/images/training.in > manifests/images/cuda.lock.new
	@awk '/^[a-z]/{keep=/^nvidia/} keep' manifests/images/cuda.lock.new > manifests/images/cuda.lock && rm manifests/images/cuda.lock.new

clean: ## remove what runs left in OUT, and the environment: [OUT=runs]
	@if test -x $(BIN)/python; then $(BIN)/python -m pipelines.local.clean --out="$$OUT"; fi
	@rm -rf $(VENV)
