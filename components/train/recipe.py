"""How a backbone is trained: the recipe, as configuration."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError

from components.shared.contracts import Frozen
from components.shared.errors import BadConfigError


class Recipe(Frozen):
    """The recipe of one training run.

    Attributes:
        epochs: passes over the training slices at most.
        batch_size: slices per step.
        learning_rate: peak of the cosine schedule, reached after the warm-up.
        warmup_epochs: epochs of linear warm-up.
        weight_decay: AdamW's decoupled weight decay.
        label_smoothing: share of each label spread over all species.
        ema_momentum: momentum of the weights' moving average, which is what is kept.
        patience: epochs without a better validation loss before training stops.
        rotation: largest rotation in turns; slices have no up, so half a turn by default.
        zoom: largest relative change of size.
        contrast: largest relative change of contrast.
    """

    epochs: int = Field(default=20, ge=1, le=1000)
    batch_size: int = Field(default=32, ge=1, le=4096)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=1e-3, ge=0, le=1)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    ema_momentum: float = Field(default=0.99, ge=0, lt=1)
    patience: int = Field(default=10, ge=1)
    rotation: float = Field(default=0.5, ge=0, le=0.5)
    zoom: float = Field(default=0.1, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Checks a recipe as given by a user.

        Raises:
            BadConfigError: an unknown key or an impossible value.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise BadConfigError(
                f"recipe key {key!r} with value {first['input']!r} ({first['msg']})",
                f"one of {', '.join(cls.model_fields)}",
                "Mend the recipe parameter.",
            ) from error
