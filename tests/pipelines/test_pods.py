"""The pods of every task in the compiled pipelines: security, resources, time-outs, retries, caching, secrets."""

import re
from typing import Any

import pytest

from pipelines.presets import load_preset, preset_names
from pipelines.resources import TaskResources, TrainingResources, cpu_resources
from tests.pipelines.compiled import Compiled, Node, compiled, compiled_preset

TRAININGS = ("training", "phantom_training", "large_training")
SMALL_PRESETS = ("fish-sample", "sample", "smoke")
PRESETS = [pytest.param(name, marks=[] if name in ("fossil", "smoke") else pytest.mark.slow) for name in preset_names()]
"""The resources of the others are those of one of these two."""
READS_THE_OUTSIDE_WORLD = {
    *("doctor", "check-parameters", "deploy", "outcome", "require-served", "check-drift", "collect-for-labelling")
}
KUBEFLOWS_CONTAINER: Node = {  # CLUSTER 6: what Kubeflow Pipelines 2.17 sets on `main`
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
KINDS = ("Cpu", "Memory")
_UNITS = {"": 1.0, "m": 1e-3, "Mi": 2**20, "Gi": 2**30}


def quantity(text: str) -> float:
    match = re.fullmatch(r"(\d+)(|m|Mi|Gi)", text)
    assert match, text
    return int(match[1]) * _UNITS[match[2]]


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest) -> dict[str, Compiled]:
    return compiled_preset(request.param)


def restricted_violations(container: Node) -> list[str]:
    """Return the rules of the Pod Security Standard `restricted` that a container's security context violates."""
    rules = {
        "runAsNonRoot": container.get("runAsNonRoot") is True,
        "runAsUser": int(container.get("runAsUser", 1)) != 0,
        "allowPrivilegeEscalation": container.get("allowPrivilegeEscalation") is False,
        "capabilities": container.get("capabilities", {}).get("drop") == ["ALL"]
        and not container.get("capabilities", {}).get("add"),
        "seccompProfile": container.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        "privileged": not container.get("privileged"),
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_every_pod_passes_restricted_pod_security(preset: dict[str, Compiled]) -> None:
    assert restricted_violations(KUBEFLOWS_CONTAINER) == ["runAsNonRoot"]
    violations = {
        (pipeline, name): restricted_violations({**KUBEFLOWS_CONTAINER, **one.pod(task).get("securityContext", {})})
        for pipeline, one in preset.items()
        for name, task in one.tasks()
    }
    assert len(violations) > 30
    assert {place: rules for place, rules in violations.items() if rules} == {}
    users = {one.pod(task)["securityContext"]["runAsUser"] for one in preset.values() for _, task in one.tasks()}
    assert users == {"1000"}


def test_every_pod_has_requests_limits_and_a_time_out(preset: dict[str, Compiled]) -> None:
    incomplete = []
    for pipeline, one in preset.items():
        for name, task in one.tasks():
            resources = one.container(task).get("resources", {})
            pairs = [(resources.get(f"resource{kind}Request"), resources.get(f"resource{kind}Limit")) for kind in KINDS]
            is_complete = all(request and limit and quantity(request) <= quantity(limit) for request, limit in pairs)
            if not is_complete or int(one.pod(task).get("activeDeadlineSeconds", 0)) < 600:
                incomplete.append((pipeline, name, pairs))
    assert incomplete == []


def test_small_presets_run_on_a_node_of_two_cpus_without_gpu() -> None:
    assert len({load_preset(name).resources.model_dump_json() for name in SMALL_PRESETS}) == 1
    for one in compiled_preset("smoke").values():
        for task_name, task in one.tasks():
            resources = one.container(task)["resources"]
            assert "accelerator" not in resources, task_name
            assert quantity(resources["resourceCpuRequest"]) <= 0.25, task_name
            assert quantity(resources["resourceMemoryRequest"]) <= 2**30, task_name


def test_cpu_resources_fit_two_cpus_without_an_accelerator() -> None:
    for one in compiled(cpu_resources(load_preset("fossil").resources), "large_training").values():
        for task_name, task in one.tasks():
            resources = one.container(task)["resources"]
            assert "accelerator" not in resources, task_name
            assert quantity(resources["resourceCpuRequest"]) <= 0.25, task_name
            assert quantity(resources["resourceMemoryRequest"]) <= 2**30, task_name
            assert not {"tolerations", "nodeSelector"} & one.pod(task).keys(), task_name
        evaluate, segment = (one.container(one.root[name]) for name in ("evaluate", "segment"))
        assert evaluate["image"] == segment["image"]


def test_cpu_resources_keep_what_needs_no_accelerator() -> None:
    labels = {"gpu": "a100"}
    resources = TrainingResources(standard=TaskResources(node_selector=labels, checkpoint_claim="kept", hours=3))
    without = cpu_resources(resources).standard
    assert (without.count, without.node_selector, without.tolerations) == (0, {}, ())
    assert (without.checkpoint_claim, without.hours, without.cpu_limit) == ("kept", 3, resources.standard.cpu)
    assert cpu_resources(resources).data.memory_limit == resources.data.memory_limit
    assert cpu_resources(resources).control == resources.control


def test_evaluation_on_a_gpu_runs_in_the_image_of_the_trainings() -> None:
    one = compiled_preset("fossil")["training"]
    tasks = dict(one.tasks())
    assert one.container(tasks["evaluate"])["resources"]["accelerator"]["resourceCount"] == "1"
    assert one.container(tasks["evaluate"])["image"] == one.container(tasks["train"])["image"]


def test_nothing_that_reads_the_outside_world_is_cached(preset: dict[str, Compiled]) -> None:
    cached = {
        (name, bool(task["cachingOptions"].get("enableCache"))) for one in preset.values() for name, task in one.tasks()
    }
    assert {name for name, is_cached in cached if not is_cached} == READS_THE_OUTSIDE_WORLD
    assert {name for name, is_cached in cached if is_cached} == {
        *("phantoms", "ingest-plan", "ingest-cut", "ingest", "segment", "train", "evaluate", "train-2")
    }


def test_a_cached_plan_is_that_of_the_listing_of_its_source(preset: dict[str, Compiled]) -> None:
    for name in TRAININGS:
        inputs = preset[name].root["ingest-plan"]["inputs"]["parameters"]
        source = {"outputParameterKey": "Output", "producerTask": "check-parameters"}
        assert inputs["listing"] == {"taskOutputParameter": source}


def test_only_steps_that_can_go_on_after_a_kill_are_retried(preset: dict[str, Compiled]) -> None:
    retried = {name for one in preset.values() for name, task in one.tasks() if "retryPolicy" in task}
    assert retried == {"train", "train-2", "evaluate", "deploy"}


def test_the_window_of_the_retries_admits_every_attempt_in_full(preset: dict[str, Compiled]) -> None:
    for one in preset.values():
        for name, task in one.tasks():
            if "retryPolicy" in task:
                policy, hours = task["retryPolicy"], int(one.pod(task)["activeDeadlineSeconds"]) / 3600
                window = (policy["maxRetryCount"] + 1) * hours * 3600
                pause = "10s" if name == "deploy" else "60s"
                assert (policy["backoffMaxDuration"], policy["backoffDuration"]) == (f"{window:.0f}s", pause), name


def test_parameters_are_checked_before_anything_that_is_retried(preset: dict[str, Compiled]) -> None:
    for name in TRAININGS:
        first = "phantoms" if name == "phantom_training" else "ingest-plan"
        assert set(preset[name].root[first]["dependentTasks"]) == {"check-parameters", "doctor"}


def test_several_accelerators_share_the_memory_of_the_pod() -> None:
    (one,) = compiled(TrainingResources(large=TaskResources(count=4)), "large_training").values()
    mounts = {
        name: [
            {key: value for key, value in mount.items() if key != "volumeName"}
            for mount in one.pod(task).get("emptyDirMounts", [])
        ]
        for name, task in one.tasks()
    }
    assert mounts.pop("train-2") == [{"mountPath": "/dev/shm", "medium": "Memory"}]
    assert not any(mounts.values())


def secrets_of(one: Compiled, task: Node) -> dict[str, Any]:
    return {
        secret["secretName"]: (
            secret["optional"],
            {pair["secretKey"]: pair["envVar"] for pair in secret["keyToEnv"]},
        )
        for secret in one.pod(task).get("secretAsEnv", [])
    }


def test_steps_that_read_stores_have_both_optional_secrets(preset: dict[str, Compiled]) -> None:
    reading = {"ingest-plan", "ingest-cut", "ingest", "train", "train-2", "deploy", "check-parameters"}
    monitoring = {"check-drift", "collect-for-labelling"}
    for one in preset.values():
        for name, task in one.tasks():
            secrets = secrets_of(one, task)
            assert bool(secrets) == (name in reading | monitoring), name
            if secrets:
                keys = {"accesskey": "KUBEFLOW_STORE_ACCESS_KEY", "secretkey": "KUBEFLOW_STORE_SECRET_KEY"}
                assert secrets.pop("mlpipeline-minio-artifact") == (True, keys)
                ((secret, (optional, variables)),) = secrets.items()
                assert (secret, optional) == ("taxonflow-volumes", True)
                assert {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} <= variables.keys()
                assert not set(variables.values()) & set(keys.values())
