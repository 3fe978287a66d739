"""The pipelines that repeat the parameters of `training` have the same ones and pass them on."""

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.compile import compile_pipeline, parse_documents
from pipelines.resources import TrainingResources
from pipelines.training import build_pipelines

FIXED = {"phantom_training": {"volumes", "material"}, "large_training": set(), "drift": set()}
"""Parameters of `training` that another pipeline sets by itself."""
OWN_DEFAULTS = {
    "phantom_training": {"image_size", "slices_per_species", "planes"},
    "large_training": {"backbones"},
    "drift": {"volumes"},
}
OWN_DESCRIPTIONS = {"phantom_training": set(), "large_training": {"volumes", "backbones"}, "drift": {"volumes"}}
REPEATING = list(FIXED)

Node = dict[str, Any]


@pytest.fixture(scope="module")
def specifications() -> dict[str, Node]:
    pipelines = build_pipelines(TrainingResources())
    return {name: parse_documents(compile_pipeline(pipeline))[0] for name, pipeline in pipelines.items()}


def parameters(specification: Node) -> dict[str, Node]:
    return dict(specification["root"]["inputDefinitions"]["parameters"])


def tasks(specification: Node) -> Iterator[Node]:
    for component in (specification["root"], *specification["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def pipeline_parameter(source: Node) -> str:
    """Return the pipeline's parameter that a task's input comes from, at any depth of nesting."""
    return str(source.get("componentInputParameter", "")).removeprefix("pipelinechannel--")


def inputs_of_steps(specification: Node) -> set[tuple[str, str, str]]:
    """Return (step, its input, the pipeline's parameter) of all steps, without the number of a repeated step."""
    steps = {name for name, component in specification["components"].items() if "executorLabel" in component}
    return {
        (task["componentRef"]["name"].rstrip("-23456789"), name, pipeline_parameter(source))
        for task in tasks(specification)
        if task["componentRef"]["name"] in steps
        for name, source in task.get("inputs", {}).get("parameters", {}).items()
    }


@pytest.mark.parametrize("pipeline", REPEATING)
def test_every_pipeline_has_the_parameters_of_training(pipeline: str, specifications: dict[str, Node]) -> None:
    own_parameters, expected_parameters = parameters(specifications[pipeline]), parameters(specifications["training"])
    assert expected_parameters.keys() - own_parameters.keys() == FIXED[pipeline]
    assert different_in("defaultValue", own_parameters, expected_parameters) == OWN_DEFAULTS[pipeline]
    assert different_in("description", own_parameters, expected_parameters) == OWN_DESCRIPTIONS[pipeline]


def different_in(field: str, own_parameters: dict[str, Node], expected_parameters: dict[str, Node]) -> set[str]:
    """Return the common parameters that differ in a field; line breaks do not count."""
    return {
        name
        for name in expected_parameters.keys() & own_parameters.keys()
        if str(expected_parameters[name].get(field)).split() != str(own_parameters[name].get(field)).split()
    }


@pytest.mark.parametrize("pipeline", ["drift"])
def test_a_nested_training_gets_every_parameter_under_its_name(pipeline: str, specifications: dict[str, Node]) -> None:
    (nested_task,) = (
        task for task in tasks(specifications[pipeline]) if task["componentRef"]["name"] == "comp-taxonflow-training"
    )
    source = nested_task["inputs"]["parameters"]
    assert source.keys() == parameters(specifications["training"]).keys()
    assert {name for name, source in source.items() if pipeline_parameter(source) != name} == FIXED[pipeline]


def test_large_training_passes_the_inputs_of_training_to_each_step(specifications: dict[str, Node]) -> None:
    expected_inputs = inputs_of_steps(specifications["training"])
    assert len({step for step, _, _ in expected_inputs}) == 10  # ingest has artifacts alone
    large = {
        ("comp-train", "backbone", "large_backbones-loop-item"),
        ("comp-check-parameters", "large_backbones", "large_backbones"),
    }
    assert inputs_of_steps(specifications["large_training"]) == expected_inputs | large


def test_phantom_training_passes_the_inputs_of_training_to_each_step(specifications: dict[str, Node]) -> None:
    inputs = inputs_of_steps(specifications["phantom_training"])
    training = {each for each in inputs if each[0] != "comp-phantoms"}
    expected_inputs = inputs_of_steps(specifications["training"])
    source = {each for each in expected_inputs if each[2] in FIXED["phantom_training"]}
    assert {step for step, _, _ in source} == {"comp-check-parameters", "comp-ingest-plan", "comp-evaluate"}
    constants = {(step, name, "") for step, name, _ in source if step != "comp-check-parameters"}
    assert training == expected_inputs - source | constants


def test_the_choices_of_ingest_are_parameters_of_training(specifications: dict[str, Node]) -> None:
    definitions = parameters(specifications["training"])
    defaults = {"doubtful_masks": "keep", "confined": True, "rare_species": "unseen", "folds": -1}
    assert {name: definitions.get(name, {}).get("defaultValue") for name in defaults} == defaults
    inputs = inputs_of_steps(specifications["training"])
    assert {name for step, name, _ in inputs if step == "comp-ingest-plan"} >= defaults.keys()
