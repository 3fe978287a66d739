"""How a backbone is trained: the recipe, as configuration."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from components.shared.config import Frozen, abbreviate, checked
from components.shared.errors import BadConfigError
from components.train.backbones.registry import find_backbone

LARGEST_SEED = 2**32 - 1
PER_BACKBONE = "backbones"


class Recipe(Frozen):
    """The recipe of one training run.

    The network and its weights:
        weights: `none`, `imagenet` (what the network's authors published, downloaded by Keras; DINOv2's are of
            LVD-142M), or a file or URI (file, s3://, gs://), in which `{backbone}` stands for the network's name.
        image_size: edge of the input in pixels, `slices` for the data set's or `native` for the network's own.

    The two phases:
        frozen_epochs: epochs of the first phase, which trains the head alone on frozen features; 0 leaves it out.
        frozen_learning_rate: peak of the first phase.
        epochs: epochs of the second phase at most; 0 leaves it out, which makes a linear probe.
        learning_rate: peak of the second phase.
        unfreeze: how many of the last layers the second phase trains, `all`, or `backbone` for the registry's depth;
            without pre-trained weights `backbone` means all.
        patience: epochs without a better validation figure before a phase stops.
        monitor: the validation figure that chooses the epoch which is kept.

    The optimizer, AdamW:
        batch_size: slices per step, over all GPUs of the pod.
        schedule: `cosine` decay to a hundredth, `constant`, or `plateau`, which cuts the rate when nothing improves.
        warmup_epochs: epochs of linear warm-up before the cosine.
        plateau_patience: epochs without improvement before `plateau` cuts the rate.
        plateau_factor: what it multiplies the rate by.
        plateau_floor: the lowest rate it reaches.
        weight_decay: AdamW's decoupled weight decay.
        clip_norm: largest norm of a gradient; 0 clips nothing.
        ema_momentum: momentum of the weights' moving average, which is what is kept; 0 keeps the weights themselves.
        precision: Keras's dtype policy during training; what is kept is float32.
        xla: whether the step is compiled with XLA.

    The loss:
        label_smoothing: share of each label spread over all species.
        focal_gamma: focusing of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        class_weights: `balanced` weighs a species by the inverse of its share of the training slices.

    The views:
        rotation: largest rotation in turns; slices have no up, so half a turn by default.
        zoom: largest relative change of size.
        shift: largest shift as a share of the edge.
        shear: largest shear as the tangent of its angle.
        flips: axes along which a slice may be mirrored.
        contrast: largest relative change of contrast, about the specimen's mean grey.
        brightness: largest relative change of brightness, about black.
        mixup_alpha: parameter of MixUp's beta distribution (Zhang et al. 2018); 0 mixes nothing.
        cutmix_alpha: parameter of CutMix's beta distribution (Yun et al. 2019); 0 cuts nothing.
        mix_probability: probability that a batch is mixed.
        cache_gigabytes: decoded training slices are kept in memory if they fit into this much.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    weights: str = Field(default="none", min_length=1, max_length=4096)
    image_size: int | Literal["slices", "native"] = "slices"

    frozen_epochs: int = Field(default=0, ge=0, le=1000)
    frozen_learning_rate: float = Field(default=3e-4, gt=0, le=1)
    epochs: int = Field(default=20, ge=0, le=1000)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    unfreeze: int | Literal["all", "backbone"] = "backbone"
    patience: int = Field(default=10, ge=1)
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"

    batch_size: int = Field(default=32, ge=1, le=4096)
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0, le=1000)
    plateau_patience: int = Field(default=5, ge=1)
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    plateau_floor: float = Field(default=1e-7, ge=0, le=1)
    weight_decay: float = Field(default=1e-3, ge=0, le=1)
    clip_norm: float = Field(default=1.0, ge=0)
    ema_momentum: float = Field(default=0.99, ge=0, lt=1)
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool = False

    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    focal_gamma: float = Field(default=0.0, ge=0, le=10)
    class_weights: Literal["none", "balanced"] = "none"

    rotation: float = Field(default=0.5, ge=0, le=0.5)
    zoom: float = Field(default=0.1, ge=0, lt=1)
    shift: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0, lt=1)
    flips: Literal["both", "horizontal", "none"] = "both"
    contrast: float = Field(default=0.0, ge=0, lt=1)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    mixup_alpha: float = Field(default=0.0, ge=0, le=10)
    cutmix_alpha: float = Field(default=0.0, ge=0, le=10)
    mix_probability: float = Field(default=0.0, ge=0, le=1)
    cache_gigabytes: float = Field(default=4.0, ge=0, le=1024)

    @model_validator(mode="after")
    def _phases_make_sense(self) -> Self:
        if self.frozen_epochs + self.epochs == 0:
            raise ValueError("frozen_epochs and epochs are both 0, so nothing would be trained")
        if self.frozen_epochs and self.weights == "none":
            raise ValueError("frozen_epochs with weights 'none' would freeze random features")
        if isinstance(self.unfreeze, int) and self.unfreeze < 0:
            raise ValueError("unfreeze is a number of layers, so at least 0")
        if isinstance(self.image_size, int) and not 8 <= self.image_size <= 1024:
            raise ValueError("image_size is from 8 to 1024 pixels")
        return self

    @classmethod
    def parse(cls, fields: Mapping[str, Any], backbone: str = "") -> Self:
        """Checks a recipe as given by a user.

        Args:
            fields: keys of this class, and under `backbones` what is different for some of them, such as
                `{"epochs": 20, "backbones": {"mobilenet": {"weights": "imagenet"}}}`.
            backbone: whose recipe is wanted; without it, what holds for those that are not under `backbones`.

        Raises:
            BadConfigError: an unknown key, an impossible value, or values that contradict one another.
        """
        return checked(cls, _of_backbone(fields, backbone), "recipe key")


def check_seed(seed: int) -> int:
    """Returns the seed.

    Raises:
        BadConfigError: NumPy and TensorFlow take no such seed.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise BadConfigError(f"seed {seed}", f"a whole number from 0 to {LARGEST_SEED}", "Mend the seed.")
    return seed


def _of_backbone(fields: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """Puts what is different for a backbone over what holds for all.

    Raises:
        BadConfigError: what stands under `backbones` is not a recipe for each of some known ones.
    """
    common = dict(fields)
    different = common.pop(PER_BACKBONE, {})
    if not isinstance(different, Mapping) or not all(isinstance(own, Mapping) for own in different.values()):
        raise BadConfigError(
            f"recipe key {PER_BACKBONE!r} with value {abbreviate(different)}",
            "a recipe for each backbone that has one of its own, such as {mobilenet: {weights: imagenet}}",
            "Mend the recipe parameter.",
        )
    for name in different:
        find_backbone(name)
    return {**common, **different.get(backbone, {})}
