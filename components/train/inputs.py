"""The inputs of one training."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from components import __version__
from components.shared.contracts import SlicesInfo
from components.shared.slices import INFO_FILE
from components.train.backbones.registry import InputSpec
from components.train.checkpoints import checkpoint_key
from components.train.input_pipeline import held_out_batches, training_batches
from components.train.recipe import Recipe


@dataclass(frozen=True)
class Training:
    """The inputs of one training.

    Attributes:
        slices: Folder of the data set.
        info: Description of the data set.
        backbone: Name of the network.
        recipe: Settings of the training.
        seed: Seed of initial weights, order and augmentation.
        spec: Shape of the network's input and output.
    """

    slices: Path
    info: SlicesInfo
    backbone: str
    recipe: Recipe
    seed: int
    spec: InputSpec

    @property
    def counts(self) -> list[int]:
        """Number of training slices of each class, in the order of the labels."""
        counts = {count.species: count.slices for count in self.info.counts if count.split == "train"}
        return [counts.get(species, 0) for species in self.info.classes]

    @property
    def class_weights(self) -> dict[int, float] | None:
        """Inverse share of each class, so that all classes have the same sum of weights; None for equal weights."""
        if self.recipe.class_weights == "none":
            return None
        return {label: sum(self.counts) / (len(self.counts) * count) for label, count in enumerate(self.counts)}

    def batches(self, first_epoch: int) -> tf.data.Dataset:
        """Return batches of augmented training slices."""
        return training_batches(self.slices, self.spec, sum(self.counts), self.recipe, self.seed, first_epoch)

    def validation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Return batches of validation slices."""
        return held_out_batches(self.slices, "validation", self.spec, batch_size, self.recipe.cache_gigabytes)

    def key(self, weights_sha256: str) -> str:
        """Return the key of the training's checkpoints, a hash of all inputs.

        Args:
            weights_sha256: SHA-256 of the file of initial weights, or empty.
        """
        description = hashlib.sha256((self.slices / INFO_FILE).read_bytes()).hexdigest()
        recipe = self.recipe.model_dump()
        inputs = {"slices": description, "backbone": self.backbone, "recipe": recipe, "seed": self.seed}
        return checkpoint_key({**inputs, "weights": weights_sha256, "versions": [__version__, keras.__version__]})
