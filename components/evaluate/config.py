"""The parameters of an evaluation."""

from collections.abc import Mapping
from typing import Any, Self

from components.evaluate.gate import GateConfig
from components.shared.config import Frozen

MATERIAL = "specimens"


class EvaluationConfig(Frozen):
    """What decides an evaluation besides slices and models.

    Attributes:
        name: of the served model.
        gate: what it must reach.
        seed: of the permutations of the paired tests.
        material: what the specimens are, as the report calls them.
    """

    name: str
    gate: GateConfig = GateConfig()
    seed: int = 0
    material: str = MATERIAL

    @classmethod
    def parse(cls, threshold: float, gate: Mapping[str, Any], **others: Any) -> Self:
        """Checks the pipelines' parameters.

        Raises:
            BadConfigError: the threshold is no share, or the gate has an unknown key or an impossible value.
        """
        return cls(gate=GateConfig.parse(threshold, gate), **others)
