"""Optional components, each alone and in combinations, with the base and with the overlays."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.shared.object_stores import STORE_ACCESS_KEY, STORE_SECRET_KEY
from monitoring.service.model_mirror import is_address
from serving.limits import Limits
from tests.manifests.endpoint import patched_service

MANIFESTS = Path(__file__).parents[2] / "manifests"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "cluster.md"
KUBERNETES = "1.34"
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
Complaints = Callable[[dict[str, Any]], list[str]]
BUILDS = ("base", "overlays/kind", "overlays/production")


def names_of(documents: Documents, kind: str) -> set[str]:
    return {str(document["metadata"]["name"]) for document in documents if document["kind"] == kind}


def absent_components(overlay: str) -> list[str]:
    """Return the components that an overlay does not contain."""
    present = yaml.safe_load((MANIFESTS / overlay / "kustomization.yaml").read_text()).get("components", [])
    names = sorted(folder.name for folder in (MANIFESTS / "components").iterdir())
    return [name for name in names if f"../../components/{name}" not in present]


def violations(documents: Documents, complaints_of_crd: Complaints, seen: set[str]) -> Iterator[str]:
    """Yield the violations of documents and of the InferenceService; documents in `seen` are valid."""
    for document in (*documents, patched_service(documents)):
        text = json.dumps(document, sort_keys=True)
        if text in seen:
            continue
        group = document["apiVersion"].rpartition("/")[0]
        if "." in group and not group.endswith(".k8s.io"):
            yield from complaints_of_crd(document)
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        seen.add(text)


@pytest.mark.parametrize("overlay", BUILDS)
def test_each_component_and_all_together_give_valid_documents(
    build: Build, complaints_of_crd: Complaints, overlay: str
) -> None:
    names, seen = absent_components(overlay), set[str]()
    for components in [*([name] for name in names), names, names[::-1]]:
        assert list(violations(build(overlay, *components), complaints_of_crd, seen)) == [], components


@pytest.mark.slow
@pytest.mark.parametrize("overlay", BUILDS)
def test_every_pair_of_components_is_valid(build: Build, complaints_of_crd: Complaints, overlay: str) -> None:
    seen = set[str]()
    for components in combinations(absent_components(overlay), 2):
        assert list(violations(build(overlay, *components), complaints_of_crd, seen)) == [], components


@pytest.mark.parametrize("overlay", ["base", "overlays/production"])
def test_autoscaling_limits_both_deployments(build: Build, overlay: str) -> None:
    service = patched_service(build(overlay, "autoscaling"))
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
    for part in ("predictor", "transformer"):
        spec = service["spec"][part]
        assert spec["minReplicas"] < spec["maxReplicas"]
        assert spec["scaleMetric"] == "cpu"


@pytest.mark.parametrize("components", [("batching",), ("batching", "prometheus"), ("prometheus", "batching")])
def test_tensorflow_serving_has_each_components_options_and_files(build: Build, components: tuple[str, ...]) -> None:
    documents = build("base", *components)
    predictor = patched_service(documents)["spec"]["predictor"]
    options = dict(argument.split("=") for argument in predictor["model"]["args"])
    assert ("--enable_batching" in options, "--monitoring_config_file" in options) == (True, "prometheus" in components)
    maps = {document["metadata"]["name"]: document for document in documents if document["kind"] == "ConfigMap"}
    volumes = {volume["name"]: volume for volume in predictor["volumes"]}
    for option in options.keys() - {"--enable_batching"}:
        folder, _, file = options[option].rpartition("/")
        (mount,) = [mount for mount in predictor["model"]["volumeMounts"] if mount["mountPath"] == folder]
        assert file in maps[volumes[mount["name"]]["configMap"]["name"]]["data"]


def batching_parameters(build: Build) -> dict[str, list[int]]:
    """Return the values of each batching parameter."""
    (config,) = (
        each for each in build("base", "batching") if each["metadata"]["name"] == "tensorflow-serving-batching"
    )
    parameters: dict[str, list[int]] = {}
    for line in config["data"]["batching.config"].splitlines():
        match = re.fullmatch(r"(\w+) \{ value: (\d+) \}|(allowed_batch_sizes): (\d+)", line)
        assert match, line
        parameters.setdefault(match[1] or match[3], []).append(int(match[2] or match[4]))
    return parameters


def test_the_batching_parameters_exist_in_tensorflow_serving(build: Build) -> None:
    parameters = batching_parameters(build)
    assert parameters.keys() <= BATCHING_PARAMETERS
    assert parameters["max_batch_size"] == [Limits().max_instances]


def test_a_batch_has_one_of_a_few_sizes_up_to_the_largest(build: Build) -> None:
    parameters = batching_parameters(build)
    sizes = parameters.get("allowed_batch_sizes", [])
    assert sizes == sorted(set(sizes)), "TensorFlow Serving wants them in ascending order"
    assert sizes[-1:] == parameters["max_batch_size"], "TensorFlow Serving wants the largest batch as the last"
    assert all(larger <= 2 * smaller for smaller, larger in pairwise(sizes))


def test_each_monitor_and_rule_has_the_label_that_prometheus_selects(build: Build) -> None:
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    selected = [document for document in build("overlays/production") if document["kind"] in kinds]
    assert {document["kind"] for document in selected} == set(kinds)
    assert {document["metadata"]["labels"].get("release") for document in selected} == {"kube-prometheus-stack"}


def test_prometheus_scrapes_ports_that_the_pods_declare(build: Build) -> None:
    documents = build("overlays/production")
    service = patched_service(documents)["spec"]
    ports = {
        "predictor": service["predictor"]["model"].get("ports", []),
        "transformer": service["transformer"]["containers"][0].get("ports", []),
    }
    monitors = [document["spec"] for document in documents if document["kind"] == "PodMonitor"]
    assert {monitor["selector"]["matchLabels"]["component"] for monitor in monitors} == ports.keys()
    for monitor in monitors:
        (endpoint,) = monitor["podMetricsEndpoints"]
        declared_ports = ports[monitor["selector"]["matchLabels"]["component"]]
        assert endpoint["portNumber"] in [port["containerPort"] for port in declared_ports]


def test_selectors_find_the_pods_of_a_model_of_any_name(build: Build) -> None:
    documents = build("overlays/production")
    labels = {"app.kubernetes.io/part-of": "taxonflow", "serving.kserve.io/inferenceservice": "fish"}
    for document in documents:
        if document["kind"] in ("PodMonitor", "PodDisruptionBudget"):
            selector = document["spec"]["selector"]["matchLabels"]
            assert selector.items() <= {**labels, "component": selector["component"]}.items()
    assert "foraminifera" not in json.dumps(documents)


def test_the_predictors_account_names_a_secret_only_with_its_component(build: Build) -> None:
    for components, secrets in ((("claims",), []), (("storage-secret",), [{"name": "taxonflow-model-storage"}])):
        documents = build("base", *components)
        (account,) = (each for each in documents if each["metadata"]["name"] == "taxonflow-model-reader")
        assert account.get("secrets", []) == secrets
        assert names_of(documents, "Secret") == {secret["name"] for secret in secrets}


def test_the_example_secret_has_all_that_kserve_reads() -> None:
    folder = MANIFESTS / "components" / "storage-secret"
    example, secret = (yaml.safe_load((folder / name).read_text()) for name in ("example.yaml", "secret.yaml"))
    kubernetes_validate.validate(example, KUBERNETES, strict=True)
    assert example["stringData"].keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert example["metadata"]["name"] == secret["metadata"]["name"]
    assert example["metadata"]["annotations"].keys() == secret["metadata"]["annotations"].keys()
    annotations = {
        "serving.kserve.io/s3-endpoint": "seaweedfs.kubeflow:9000",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    assert secret["metadata"]["annotations"] == annotations


def test_the_monitor_can_read_its_models_from_kubeflows_store(build: Build) -> None:
    documents = build("overlays/production", "object-store-models")
    (monitor,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Deployment")
    (container,) = monitor["containers"]
    (repository,) = (argument.partition("=")[2] for argument in container["args"] if "--repository" in argument)
    assert is_address(repository)
    variables = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}
    assert variables == {STORE_ACCESS_KEY, STORE_SECRET_KEY}


def test_the_own_patch_of_the_guide_is_applied_last(tmp_path: Path, kustomize: Callable[[Path], Documents]) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    folder = tmp_path / "manifests" / "overlays" / "own"
    folder.mkdir()
    (example,) = re.findall(r"^```yaml\n(configMapGenerator:.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    (folder / "kustomization.yaml").write_text(f"resources: [../production]\n{example}")
    assert patched_service(kustomize(folder))["spec"]["predictor"]["minReplicas"] == 3
