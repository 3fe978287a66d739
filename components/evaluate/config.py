"""The parameters of an evaluation."""

from collections.abc import Mapping
from typing import Any, Self

from components.evaluate.gate import GateConfig
from components.shared.config import Frozen

MATERIAL = "specimens"


class EvaluationConfig(Frozen):
    """The parameters of an evaluation besides slices and models.

    Attributes:
        name: Name of the served model.
        gate: Conditions that the model has to meet.
        seed: Seed of the permutations of the paired tests.
        material: Name of the specimens in the report, such as "synthetic specimens".
    """

    name: str
    gate: GateConfig = GateConfig()
    seed: int = 0
    material: str = MATERIAL

    @classmethod
    def parse(cls, threshold: float, gate: Mapping[str, Any], **others: Any) -> Self:
        """Check the pipelines' parameters and return the configuration.

        Raises:
            BadConfigError: The threshold is not in 0..1, or the gate has an unknown key or an invalid value.
        """
        return cls(gate=GateConfig.parse(threshold, gate), **others)
