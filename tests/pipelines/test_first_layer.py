"""The first layer of each compiled pipeline: checks at the start, the outcome at the end, and their inputs."""

import json
from typing import Any

import pytest

from components.doctor.needs import RunNeeds
from pipelines.resources import TaskResources, TrainingResources
from tests.pipelines.compiled import PIPELINES, Compiled, Node, compiled, compiled_preset

TRAININGS = PIPELINES[:3]
CLAIM = "taxonflow-models"


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Compiled]:
    return compiled_preset("fossil")


@pytest.fixture(scope="module")
def with_claims() -> dict[str, Compiled]:
    resources = TrainingResources(standard=TaskResources(checkpoint_claim="kept"))
    return compiled(resources, "training", "drift", monitored_models=CLAIM)


def upstream(tasks: dict[str, Node], name: str) -> set[str]:
    """Return the tasks that must end before a task starts."""
    direct = set(tasks[name].get("dependentTasks", []))
    return direct.union(*(upstream(tasks, each) for each in direct))


def sources(task: Node) -> dict[str, Any]:
    """Return, for each input parameter of a task, its producer, its pipeline parameter or its constant."""
    found = {}
    for name, source in task["inputs"]["parameters"].items():
        produced = source.get("taskOutputParameter", {})
        constant = source.get("runtimeValue", {}).get("constant")
        found[name] = produced.get("producerTask") or source.get("componentInputParameter") or constant
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_the_first_tasks_check_the_cluster_before_all_others(pipelines: dict[str, Compiled], name: str) -> None:
    tasks = pipelines[name].root
    assert "dependentTasks" not in tasks["doctor"]
    checks = {"doctor", "check-parameters"} & tasks.keys()
    assert [task for task in tasks.keys() - checks if not checks <= upstream(tasks, task)] == []


@pytest.mark.parametrize("name", TRAININGS)
def test_the_last_tasks_show_the_outcome_and_require_a_served_model(pipelines: dict[str, Compiled], name: str) -> None:
    tasks = pipelines[name].root
    assert upstream(tasks, "require-served") == tasks.keys() - {"require-served"}
    assert upstream(tasks, "outcome") == tasks.keys() - {"require-served", "outcome"}
    outcome = sources(tasks["outcome"])
    assert {key for key, source in outcome.items() if source == "deploy"} == {
        *("outcome", "sentence", "version", "served_model_id", "address", "canary")
    }
    assert {key for key, source in outcome.items() if source == "evaluate"} == {"accuracy", "interval", "model_id"}
    assert sources(tasks["require-served"]) == {"outcome": "deploy", "sentence": "deploy"}


def test_no_training_waits_for_a_branch_or_a_nested_pipeline(pipelines: dict[str, Compiled]) -> None:
    for name in TRAININGS:
        one = pipelines[name]
        assert [key for key, task in one.root.items() if "triggerPolicy" in task] == []
        assert {key for key, task in one.root.items() if not one.executor(task)} <= {
            *("for-loop-1", "for-loop-2", "for-loop-3")
        }


def test_the_first_layer_of_the_drift_check_ends_with_its_outcome(pipelines: dict[str, Compiled]) -> None:
    tasks = pipelines["drift"].root
    assert tasks.keys() == {"doctor", "check-drift", "condition-1", "outcome"}
    assert tasks["outcome"]["dependentTasks"] == ["check-drift"]
    nested = pipelines["drift"].specification["components"]["comp-taxonflow-training"]["dag"]["tasks"]
    assert {"outcome", "require-served"} <= nested.keys()


def test_phantoms_reach_every_step_of_ingest_as_an_artifact(pipelines: dict[str, Compiled]) -> None:
    one = pipelines["phantom_training"]
    specimens = {"outputArtifactKey": "volumes", "producerTask": "phantoms"}
    for step in ("ingest-plan", "ingest"):
        assert one.root[step]["inputs"]["artifacts"]["specimens"] == {"taskOutputArtifact": specimens}
    cut = dict(one.tasks())["ingest-cut"]
    assert cut["inputs"]["artifacts"]["specimens"] == {"componentInputArtifact": "pipelinechannel--phantoms-volumes"}
    assert sources(one.root["ingest-plan"])["volumes"] == ""
    assert "specimens" not in pipelines["training"].root["ingest-plan"]["inputs"].get("artifacts", {})


@pytest.mark.parametrize("name", TRAININGS)
def test_an_empty_target_and_no_registry_are_the_defaults(pipelines: dict[str, Compiled], name: str) -> None:
    parameters = pipelines[name].specification["root"]["inputDefinitions"]["parameters"]
    assert [parameters[key]["defaultValue"] for key in ("target", "registry")] == ["", ""]
    deploy = sources(pipelines[name].root["deploy"])
    assert (deploy["target"], deploy["registry"], deploy["monitored_models"]) == ("target", "registry", "")


def test_a_claim_of_the_monitor_is_mounted_where_the_deploy_step_writes(with_claims: dict[str, Compiled]) -> None:
    one = with_claims["training"]
    (mount,) = one.pod(one.root["deploy"])["pvcMount"]
    assert (mount["constant"], mount["mountPath"]) == (CLAIM, sources(one.root["deploy"])["monitored_models"])
    assert mount["mountPath"] == "/var/taxonflow/models"


def test_models_of_the_monitor_in_an_object_store_need_no_claim() -> None:
    address = "s3://lab/monitored"
    pipelines = compiled(TrainingResources(), "training", "drift", monitored_models=address)
    deploy = pipelines["training"].root["deploy"]
    assert sources(deploy)["monitored_models"] == address
    assert "pvcMount" not in pipelines["training"].pod(deploy)
    drift = pipelines["drift"]
    mounts = drift.pod(drift.root["check-drift"])["pvcMount"]
    assert [mount["constant"] for mount in mounts] == ["taxonflow-events"]
    assert drift.specification["root"]["inputDefinitions"]["parameters"]["models"]["defaultValue"] == address


def requests_of(one: Compiled, task: Node) -> str:
    container, pod = one.container(task), one.pod(task)
    resources = container["resources"]
    accelerator = resources.get("accelerator", {})
    requests = [container["image"], resources["resourceCpuRequest"], resources["resourceMemoryRequest"]]
    devices = [accelerator.get("resourceType", ""), int(accelerator.get("resourceCount", 0))]
    nodes = [pod.get("nodeSelector", {}).get("labels", {}), pod.get("tolerations", [])]
    return json.dumps([*requests, *devices, *nodes], sort_keys=True)


@pytest.mark.parametrize("preset", ["fossil", "smoke"])
@pytest.mark.parametrize("name", PIPELINES)
def test_doctor_asks_for_the_pods_that_the_pipeline_makes(name: str, preset: str) -> None:
    one = compiled_preset(preset)[name]
    needs = RunNeeds.model_validate(sources(one.root["doctor"])["needs"])
    asked = {
        json.dumps(
            [pod.image, pod.cpu, pod.memory, pod.accelerator, pod.count, pod.node_selector, list(pod.tolerations)],
            sort_keys=True,
        )
        for pod in needs.pods
    }
    own = [task for _, task in one.tasks()] if name != "drift" else [t for t in one.root.values() if one.executor(t)]
    assert asked == {requests_of(one, task) for task in own}
    assert {pod.task for pod in needs.pods} <= {task for task, _ in one.tasks()}


def test_doctor_asks_for_the_claims_that_the_tasks_mount(with_claims: dict[str, Compiled]) -> None:
    needs = {name: sources(one.root["doctor"])["needs"]["claims"] for name, one in with_claims.items()}
    assert needs == {"training": ["kept", CLAIM], "drift": ["taxonflow-events", CLAIM]}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_description_has_a_row_for_every_parameter(pipelines: dict[str, Compiled], name: str) -> None:
    specification = pipelines[name].specification
    description = specification["pipelineInfo"]["description"]
    assert description.isascii()
    assert "| parameter | accepts | default | meaning |" in description
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    rows = dict(line.removeprefix("| ").split(" | ", 1) for line in description.splitlines() if line.startswith("| `"))
    assert rows.keys() == {f"`{key}`" for key in parameters}
    for key, parameter in parameters.items():
        assert " ".join(parameter["description"].split()) in rows[f"`{key}`"], key
    assert rows["`threshold`"].startswith("number | `0.95` | Slice accuracy")
