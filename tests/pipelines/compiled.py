"""Compiled pipelines for tests: the tasks of all layers, their containers and the settings of their pods."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipelines.compile import compile_pipeline, parse_documents
from pipelines.presets import load_preset
from pipelines.resources import TrainingResources
from pipelines.training import build_pipelines

Node = dict[str, Any]


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        specification: Intermediate representation.
        executors: Settings of the pods by executor.
    """

    specification: Node
    executors: dict[str, Node]

    @property
    def root(self) -> dict[str, Node]:
        """Tasks of the first layer by name."""
        return dict(self.specification["root"]["dag"]["tasks"])

    def tasks(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the definition of each task of a step, of all layers."""
        for component in (self.specification["root"], *self.specification["components"].values()):
            for name, task in component.get("dag", {}).get("tasks", {}).items():
                if self.executor(task):
                    yield name, task

    def executor(self, task: Node) -> str:
        """Return the executor of a task; empty for a loop, a condition or a nested pipeline."""
        return str(self.specification["components"][task["componentRef"]["name"]].get("executorLabel", ""))

    def container(self, task: Node) -> Node:
        """Return image, command and resources of a task."""
        return dict(self.specification["deploymentSpec"]["executors"][self.executor(task)]["container"])

    def pod(self, task: Node) -> Node:
        """Return the settings of the pod of a task."""
        return self.executors[self.executor(task)]


PIPELINES = ("training", "phantom_training", "large_training", "drift")


def compiled(resources: TrainingResources, *names: str, monitored_models: str = "") -> dict[str, Compiled]:
    """Compile pipelines with the given resources, all of them without names."""
    pipelines = build_pipelines(resources, monitored_models)
    result = {}
    for name in names or PIPELINES:
        specification, platform = parse_documents(compile_pipeline(pipelines[name]))
        executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        result[name] = Compiled(specification, executors)
    return result


@cache
def compiled_preset(preset: str) -> dict[str, Compiled]:
    """Compile all pipelines with the resources of a preset."""
    return compiled(load_preset(preset).resources)
