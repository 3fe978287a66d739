"""Optional components, in overlays with the base and with the overlay `production`."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonpatch import apply_patch

from components.deploy.kserve.inference_service import inference_service
from components.shared.errors import BadConfigError, DeployError
from pipelines.image_digests import COMPONENT, pin_images, push
from serving.limits import Limits

MANIFESTS = Path(__file__).parents[2] / "manifests"
DIGEST = "sha256:" + "ab" * 32
BATCHING_PARAMETERS = {
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "allowed_batch_sizes",
    "pad_variable_length_inputs",
}
"""Fields of BatchingParameters in TensorFlow Serving's session_bundle_config.proto, which no package contains."""
Documents = list[dict[str, Any]]
Build = Callable[..., Documents]


@pytest.fixture
def build(tmp_path: Path, kustomize: Callable[[Path], Documents]) -> Build:
    """Return a function that builds a copy of the manifests with a further overlay of components."""

    def build_overlay(overlay: str, *components: str, digests: str = "") -> Documents:
        copy = tmp_path / "manifests"
        shutil.copytree(MANIFESTS, copy)
        if digests:
            (copy / "components" / "image-digests" / "kustomization.yaml").write_text(digests)
        folder = copy / "overlays" / "test"
        folder.mkdir()
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../../{overlay}"],
            "components": [f"../../components/{name}" for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
        return kustomize(folder)

    return build_overlay


def service_of(documents: Documents) -> dict[str, Any]:
    return next(document for document in documents if document["kind"] == "InferenceService")


@pytest.mark.parametrize("overlay", ["base", "overlays/production"])
def test_autoscaling_limits_both_deployments(
    build: Build, overlay: str, complaints_of_crd: Callable[[dict[str, Any]], list[str]]
) -> None:
    service = service_of(build(overlay, "autoscaling"))
    assert complaints_of_crd(service) == []
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
    for part in ("predictor", "transformer"):
        spec = service["spec"][part]
        assert spec["minReplicas"] < spec["maxReplicas"]
        assert spec["scaleMetric"] == "cpu"


@pytest.mark.parametrize("components", [("batching",), ("batching", "prometheus"), ("prometheus", "batching")])
def test_tensorflow_serving_has_each_components_options_and_files(build: Build, components: tuple[str, ...]) -> None:
    documents = build("base", *components)
    model = service_of(documents)["spec"]["predictor"]["model"]
    options = dict(argument.split("=") for argument in model["args"])
    assert ("--enable_batching" in options, "--monitoring_config_file" in options) == (True, "prometheus" in components)
    maps = {document["metadata"]["name"]: document for document in documents if document["kind"] == "ConfigMap"}
    volumes = {volume["name"]: volume for volume in service_of(documents)["spec"]["predictor"]["volumes"]}
    for option in options.keys() - {"--enable_batching"}:
        folder, _, file = options[option].rpartition("/")
        (mount,) = [mount for mount in model["volumeMounts"] if mount["mountPath"] == folder]
        config = maps[volumes[mount["name"]]["configMap"]["name"]]
        kubernetes_validate.validate(config, "1.33", strict=True)
        assert file in config["data"]


def test_the_batching_parameters_exist_in_tensorflow_serving(build: Build) -> None:
    (config,) = [d for d in build("base", "batching") if d["kind"] == "ConfigMap"]
    lines = config["data"]["batching.config"].splitlines()
    matches = [re.fullmatch(r"(\w+) \{ value: (\d+) \}", line) for line in lines]
    parameters = {match[1]: int(match[2]) for match in matches if match}
    assert len(parameters) == len(lines)
    assert parameters.keys() <= BATCHING_PARAMETERS
    assert parameters["max_batch_size"] == Limits().max_instances


def test_production_uses_images_by_digest(build: Build) -> None:
    serving, monitoring = (f"registry.example.org/taxonflow/{name}@{DIGEST}" for name in ("serving", "monitoring"))
    documents = build("overlays/production", digests=pin_images([serving, monitoring]))
    (monitor,) = [document for document in documents if document["kind"] == "Deployment"]
    assert monitor["spec"]["template"]["spec"]["containers"][0]["image"] == monitoring
    labels = {"taxonflow.dev/endpoint-patch": "true"}
    (patch,) = [document for document in documents if labels.items() <= document["metadata"].get("labels", {}).items()]
    kubernetes_validate.validate(patch, "1.33", strict=True)
    assert patch["metadata"]["namespace"] == monitor["metadata"]["namespace"]
    operations = yaml.safe_load(patch["data"]["image.yaml"])
    service = apply_patch(inference_service("foraminifera"), operations)
    assert service["spec"]["transformer"]["containers"][0]["image"] == serving


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([f"taxonflow/serving@{DIGEST}"], "no digest of taxonflow/monitoring"),
        (["taxonflow/serving:0.1.0"], "sha256"),
        ([f"taxonflow/other@{DIGEST}"], "taxonflow/other"),
        ([""], "sha256"),
    ],
)
def test_an_image_without_a_digest_is_rejected(images: list[str], reason: str) -> None:
    with pytest.raises(BadConfigError, match=reason):
        pin_images(images)


def test_the_component_in_the_repository_is_a_kustomize_component() -> None:
    assert yaml.safe_load(COMPONENT.read_text())["kind"] == "Component"


def engine_of(folder: Path, name: str, script: str) -> list[str]:
    """Write a fake container engine and return its command."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o700)
    return [str(folder / name), "--root", "/storage"]


def test_docker_reports_the_digest_of_the_registry(tmp_path: Path) -> None:
    other = f"other.example.org/taxonflow/serving@{DIGEST.replace('a', 'c')}"
    own = f"registry.example.org/taxonflow/serving@{DIGEST}"
    engine = engine_of(tmp_path, "docker", f'[ $3 = push ] || echo \'["{other}", "{own}"]\'')
    assert push(engine, "registry.example.org/taxonflow/serving:1.2.3", []) == own


def test_podman_and_buildah_write_the_digest_of_the_pushed_image(tmp_path: Path) -> None:
    arguments = "--root /storage push --digestfile $5 --tls-verify=false registry.example.org/taxonflow/serving:1.2.3"
    engine = engine_of(tmp_path, "buildah", f'[ "$*" = "{arguments}" ] && echo {DIGEST} > $5')
    image = "registry.example.org/taxonflow/serving:1.2.3"
    assert push(engine, image, ["--tls-verify=false"]) == f"registry.example.org/taxonflow/serving@{DIGEST}"


def test_a_failed_push_is_a_deploy_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="push"):
        push(engine_of(tmp_path, "podman", "exit 125"), "taxonflow/serving:1.2.3", [])
    with pytest.raises(DeployError, match="No such file"):
        push([str(tmp_path / "nowhere" / "buildah")], "taxonflow/serving:1.2.3", [])
