# Taxonflow. `make help` lists the targets; each target installs the environment if needed.
SHELL := /bin/bash
PYTHON ?=
OUT ?= runs
PRESET ?=
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
ifndef REGISTRY
REGISTRY := $(TAXONFLOW_REGISTRY)
endif
ifndef TAG
TAG := $(or $(TAXONFLOW_TAG),0.1.0)
endif
# Values reach the recipes as the user typed them, in the environment: neither make nor the shell interprets them.
DOLLAR := $$
define AS_TYPED
override $(1) := $$(subst $$(DOLLAR)$$(DOLLAR),$$(DOLLAR),$$(value $(1)))
export $(1)
endef
$(foreach name,OUT VOLUMES PHOTOS IMAGES PRESET BACKBONES THRESHOLD DOUBTFUL_MASKS RARE_SPECIES FOLDS SEED MODEL SPECIMENS PORT URL CA REGISTRY TAG HOST NAMESPACE ACCOUNT TOKEN_FILE RESOURCES MONITORED_MODELS PIPELINE EVERY,$(eval $(call AS_TYPED,$(name))))
# Options of a command of the cluster that a variable sets; without the variable there is no option.
OPTION = $(if $($(2)),--$(1)="$$$(2)")
COMPILED_IMAGES := TAXONFLOW_REGISTRY="$$REGISTRY" TAXONFLOW_TAG="$$TAG"
ACCESS = $(call OPTION,namespace,NAMESPACE) $(call OPTION,service-account,ACCOUNT) $(call OPTION,token-file,TOKEN_FILE) $(call OPTION,ca,CA)
PLACED = $(call OPTION,resources,RESOURCES) $(call OPTION,monitored-models,MONITORED_MODELS)
export TF_CPP_MIN_LOG_LEVEL ?= 3
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run serve ask monitor demo dashboards docs pictures phantoms compile doctor submit test test-all test-cluster benchmark figures images push lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install the environment into .venv (the other targets do it if needed): [PYTHON=path]

$(READY): requirements.lock pyproject.toml $(STALE)
	@bash scripts/environment.sh install $(VENV) "$(PYTHON)"

.PHONY: stale
stale: # a prerequisite of an environment that was moved, is broken or runs another Python than PYTHON

run: $(READY) ## train, evaluate, deploy and send a first request: [PRESET=name] [VOLUMES=dir-or-manifest.csv] [PHOTOS=dir-or-manifest.csv] [BACKBONES=a,b] [THRESHOLD=0.95] [DOUBTFUL_MASKS=refuse] [RARE_SPECIES=train] [FOLDS=5] [SEED=0] [OUT=runs]
	@$(BIN)/python -m pipelines.run --preset="$$PRESET" --volumes="$$VOLUMES" --photos="$$PHOTOS" --backbones="$$BACKBONES" --threshold="$$THRESHOLD" --doubtful-masks="$$DOUBTFUL_MASKS" --rare-species="$$RARE_SPECIES" --folds="$$FOLDS" --seed="$$SEED" --out="$$OUT"

serve: $(READY) ## serve the deployed models: [PORT=8080] [OUT=runs]
	@$(BIN)/python -m serving --repository="$$OUT/models" --events="$$OUT/events" --port="$$PORT"

ask: $(READY) ## classify images with the server, or with a cluster's endpoint: [IMAGES="a.png folder"] [MODEL=name] [PORT=8080] [URL=http://127.0.0.1:8081] [CA=file] [OUT=runs]
	@$(BIN)/python -m serving.client --url "$${URL:-http://127.0.0.1:$$PORT}" $(call OPTION,ca,CA) --model="$$MODEL" --images="$$IMAGES" --examples="$$OUT/models"

monitor: $(READY) ## monitor the predictions for drift, with web pages: [OUT=runs] [PORT=8080]
	@$(BIN)/python -m monitoring.local_stack --repository="$$OUT/models" --events="$$OUT/events" --out="$$OUT/monitoring" --server-port="$$PORT"

demo: $(READY) ## demonstrate the monitor with clean traffic, an artefact and an unseen species: [OUT=runs] [PRESET=sample] [SEED=0]
	@$(BIN)/python -m pipelines.local.demo --out="$$OUT" --preset="$${PRESET:-sample}" --seed="$$SEED"

dashboards: $(READY) ## generate Grafana dashboards, alert rules and the table of metrics
	@$(BIN)/python -m monitoring.alerting.generate

docs: $(READY) ## generate the reference pages of presets and keys in docs/reference
	@$(BIN)/python -m pipelines.reference_pages

pictures: $(READY) ## generate the console output in README.md and docs/images from the latest run: [OUT=runs]
	@$(BIN)/python -m tests.pictures --out="$$OUT"

phantoms: $(READY) ## generate synthetic specimens and their contact sheet: [SPECIMENS=20] [SEED=0] [OUT=runs]
	@$(BIN)/python -m components.phantoms --out="$$OUT/phantoms" --specimens="$$SPECIMENS" --seed="$$SEED"

compile: $(READY) ## compile the pipelines to YAML, with the resources of a preset: [PRESET=fossil] [RESOURCES=cpu] [MONITORED_MODELS=claim-or-URL] [REGISTRY=registry.example.org] [TAG=0.1.0] [OUT=runs]
	@$(COMPILED_IMAGES) $(BIN)/python -m pipelines.compile --preset="$${PRESET:-sample}" $(PLACED) --out="$$OUT/compiled"

doctor: $(READY) ## check what a run needs of the cluster: [HOST=https://...] [NAMESPACE=profile] [PRESET=sample] [ACCOUNT=default-editor] [TOKEN_FILE=file] [CA=file] [RESOURCES=cpu] [MONITORED_MODELS=claim-or-URL] [REGISTRY=registry.example.org] [TAG=0.1.0]
	@$(COMPILED_IMAGES) $(BIN)/python -m pipelines.doctor --preset="$${PRESET:-sample}" $(call OPTION,host,HOST) $(ACCESS) $(PLACED)

submit: $(READY) ## upload a pipeline to Kubeflow and start a run: HOST=https://... [PRESET=fossil] [SET="volumes=s3://bucket/scans seed=1"] [PIPELINE=drift] [EVERY="0 0 4 * * *"] [NAMESPACE=profile] [ACCOUNT=default-editor] [TOKEN_FILE=file] [CA=file] [RESOURCES=cpu] [MONITORED_MODELS=claim-or-URL] [REGISTRY=registry.example.org] [TAG=0.1.0]
	@$(COMPILED_IMAGES) $(BIN)/python -m pipelines.submit --host="$$HOST" --preset="$${PRESET:-sample}" $(call OPTION,pipeline,PIPELINE) $(call OPTION,every,EVERY) $(ACCESS) $(PLACED) $(foreach setting,$(SET),--set "$(setting)")

test: $(READY) ## run the fast tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow and not gpu and not cluster" $(PYTEST_OPTIONS)

test-all: $(READY) ## run all tests, including the slow ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and not cluster" $(PYTEST_OPTIONS)

test-cluster: $(READY) ## run the tests on a cluster: KUBECONFIG=file [HOST=https://...] [NAMESPACE=name] [TF_SERVING_IMAGE=image] [KSERVE_STANDIN=program] [REGISTRY=registry.example.org] [TAG=0.1.0]
	@$(COMPILED_IMAGES) $(BIN)/python -m pytest -m cluster -s -x tests/cluster $(PYTEST_OPTIONS)

benchmark: $(READY) ## run benchmarks and compare each with its reference: [ONLY=prefix-of-a-name] [OUT=runs]
	@$(BIN)/python -m tests.benchmarks --only "$(ONLY)" --out="$$OUT"

figures: $(READY) ## run all benchmarks and generate tests/benchmarks/FIGURES.md: [OUT=runs]
	@rm -f "$$OUT/benchmarks.json"
	@$(BIN)/python -m tests.benchmarks --out="$$OUT" && $(BIN)/python -m tests.benchmarks.figures "$$OUT/benchmarks.json"

images: ## build the container images: [REGISTRY=registry.example.org] [TAG=0.1.0] [TARGETS=serving] [ENGINE=docker] [CA=file]
	@ENGINE="$(ENGINE)" BUILD_OPTIONS="$(BUILD_OPTIONS)" bash scripts/build_images.sh $(TARGETS)

push: $(READY) ## push the images, and name them by digest in the manifests: REGISTRY=registry.example.org [TAG=0.1.0] [TARGETS=serving] [ENGINE=docker]
	@$(BIN)/python -m pipelines.image_digests --engine="$(ENGINE)" --registry="$$REGISTRY" --tag="$$TAG" --images="$(TARGETS)" --options="$(PUSH_OPTIONS)"

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
