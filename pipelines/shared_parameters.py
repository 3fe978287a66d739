"""A pipeline that takes what another one takes: those parameters are described once, by the other."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

from kfp.dsl.base_component import BaseComponent


class WithParametersOf:
    """A pipeline function whose `**` parameters are those of another pipeline.

    kfp takes names, types and defaults from a function's signature and descriptions from its docstring, and calls it
    with the values in that order: this has both, made of the function's own and the other pipeline's.

    Args:
        function: takes its own parameters by name, described at the end of its docstring, and the others as `**`.
        other: that pipeline.
        given: parameters of the other pipeline that the function chooses by itself.
        defaults: of parameters that both have, where they differ.
    """

    def __init__(
        self, function: Callable[..., None], other: BaseComponent, given: Collection[str] = (), **defaults: Any
    ) -> None:
        self._function = function
        *own, _ = inspect.signature(function).parameters.values()
        taken = {*given, *(parameter.name for parameter in own)}
        handed_on = [
            parameter.replace(default=defaults.get(parameter.name, parameter.default))
            for parameter in inspect.signature(other.pipeline_func).parameters.values()
            if parameter.name not in taken
        ]
        inputs = other.component_spec.inputs
        described = [f"    {each.name}: {' '.join(inputs[each.name].description.split())}" for each in handed_on]
        self.__doc__ = "\n".join([str(inspect.getdoc(function)), *described])
        self.__signature__ = inspect.Signature([*own, *handed_on])

    def __call__(self, *channels: Any) -> None:
        """Adds the tasks, given a channel for each parameter."""
        self._function(**self.__signature__.bind(*channels).arguments)
