"""Whatever `training` offers, the pipelines that do the same on other input offer and pass on too."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipelines.compile import compile_pipeline
from pipelines.resources import TrainingResources, cluster_pipelines

DECIDED = {"phantom_training": {"volumes", "material"}, "large_training": set(), "drift": set()}
"""Parameters of `training` that a twin decides by itself."""
OWN_DEFAULTS = {
    "phantom_training": {"image_size", "slices_per_species", "planes"},
    "large_training": {"backbones"},
    "drift": {"volumes"},
}
TWINS = list(DECIDED)

Node = dict[str, Any]


@pytest.fixture(scope="module")
def compiled() -> dict[str, Node]:
    pipelines = cluster_pipelines(TrainingResources())
    return {name: next(yaml.safe_load_all(compile_pipeline(pipeline))) for name, pipeline in pipelines.items()}


def parameters(specification: Node) -> dict[str, Node]:
    return dict(specification["root"]["inputDefinitions"]["parameters"])


def tasks(specification: Node) -> Iterator[Node]:
    for component in (specification["root"], *specification["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


def from_outside(given: Node) -> str:
    """Names the pipeline's parameter that a task's input comes from, however deep the task is nested."""
    return str(given.get("componentInputParameter", "")).removeprefix("pipelinechannel--")


def given_to_steps(specification: Node) -> set[tuple[str, str, str]]:
    """Lists (step, its input, the pipeline's parameter) of all steps, without the number of a repeated one."""
    steps = {name for name, component in specification["components"].items() if "executorLabel" in component}
    return {
        (task["componentRef"]["name"].rstrip("-23456789"), name, from_outside(given))
        for task in tasks(specification)
        if task["componentRef"]["name"] in steps
        for name, given in task.get("inputs", {}).get("parameters", {}).items()
    }


@pytest.mark.parametrize("twin", TWINS)
def test_a_twin_offers_every_parameter_of_training_with_the_same_default(twin: str, compiled: dict[str, Node]) -> None:
    offered, wanted = parameters(compiled[twin]), parameters(compiled["training"])
    assert wanted.keys() - offered.keys() == DECIDED[twin]
    differing = {
        name
        for name in wanted.keys() & offered.keys()
        if wanted[name].get("defaultValue") != offered[name].get("defaultValue")
    }
    assert differing == OWN_DEFAULTS[twin]


@pytest.mark.parametrize("twin", ["phantom_training", "drift"])
def test_a_twin_that_nests_training_passes_every_parameter_on_under_its_name(
    twin: str, compiled: dict[str, Node]
) -> None:
    (nested,) = (task for task in tasks(compiled[twin]) if task["componentRef"]["name"] == "comp-taxonflow-training")
    given = nested["inputs"]["parameters"]
    assert given.keys() == parameters(compiled["training"]).keys()
    assert {name for name, source in given.items() if from_outside(source) != name} == DECIDED[twin]


def test_large_training_gives_every_step_what_training_gives_it(compiled: dict[str, Node]) -> None:
    wanted = given_to_steps(compiled["training"])
    assert len({step for step, _, _ in wanted}) == 7  # ingest has artifacts alone
    large = {("comp-train", "backbone", "large_backbones-loop-item")}
    assert given_to_steps(compiled["large_training"]) == wanted | large
