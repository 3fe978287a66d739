"""Which backbones there are and what each needs. Plain data: nothing heavy is imported here.

Depths, input sizes and heads are those of the two systems that Taxonflow replaces; the rest is Keras's.
"""

from typing import Literal

from components.shared.config import Frozen
from components.shared.errors import BadConfigError


class Gpu(Frozen):
    """What a task that trains the backbone asks of the cluster.

    Attributes:
        count: GPUs.
        memory_gb: memory of each that the published batch of 32 slices needs at the native size.
        pod_memory_gb: main memory of the pod.
    """

    count: int = 1
    memory_gb: int = 16
    pod_memory_gb: int = 16


class DenseLayer(Frozen):
    """A hidden layer of the head: `units` with ReLU, of which `dropout` is dropped in training."""

    units: int
    dropout: float


class Backbone(Frozen):
    """One entry of the registry.

    Attributes:
        family: the module of this folder that builds its features.
        network: its name in that family.
        scaling: of grey values before the network: to 0..1, to -1..1, to ImageNet's mean and deviation, or none,
            since it is inside the network.
        native_size: edge of the input in pixels that the published weights were trained at.
        smallest_size: smallest legal edge of the input in pixels.
        published: whether its authors publish weights.
        unfreeze: how many of the last layers the second phase trains; None trains them all.
        head: hidden layers between the embedding and the logits.
        dropout: share of the embedding dropped in training.
        gpu: what training asks for.
    """

    family: Literal["scratch", "applications", "dinov2"]
    network: str
    scaling: Literal["0..1", "-1..1", "imagenet", "inside"]
    native_size: int = 224
    smallest_size: int = 32
    published: bool = True
    unfreeze: int | None = None
    head: tuple[DenseLayer, ...] = ()
    dropout: float = 0.2
    gpu: Gpu = Gpu()


_PHOTO_CNN_HEAD = (DenseLayer(units=512, dropout=0.5), DenseLayer(units=256, dropout=0.4))
_PHOTO_EFFICIENTNET_HEAD = (DenseLayer(units=512, dropout=0.5), DenseLayer(units=256, dropout=0.3))
_LARGE = Gpu(memory_gb=40, pod_memory_gb=32)

BACKBONES: dict[str, Backbone] = {
    "cnn_small": Backbone(
        family="scratch", network="cnn_small", scaling="-1..1", native_size=64, smallest_size=16, published=False
    ),
    "resnet_small": Backbone(
        family="scratch", network="resnet_small", scaling="-1..1", native_size=64, smallest_size=16, published=False
    ),
    "cnn": Backbone(
        family="scratch",
        network="cnn",
        scaling="0..1",
        smallest_size=16,
        published=False,
        head=_PHOTO_CNN_HEAD,
        dropout=0.0,
    ),
    "mobilenet": Backbone(family="applications", network="MobileNet", scaling="-1..1"),
    "efficientnetb0": Backbone(
        family="applications",
        network="EfficientNetB0",
        scaling="inside",
        unfreeze=50,
        head=_PHOTO_EFFICIENTNET_HEAD,
        dropout=0.0,
    ),
    "efficientnetv2_s": Backbone(family="applications", network="EfficientNetV2S", scaling="inside", unfreeze=60),
    "efficientnetv2_l": Backbone(
        family="applications", network="EfficientNetV2L", scaling="inside", native_size=384, unfreeze=80, gpu=_LARGE
    ),
    "resnet101v2": Backbone(family="applications", network="ResNet101V2", scaling="-1..1", unfreeze=60),
    "nasnet_large": Backbone(
        family="applications", network="NASNetLarge", scaling="-1..1", native_size=331, unfreeze=60, gpu=_LARGE
    ),
    "convnext_base": Backbone(family="applications", network="ConvNeXtBase", scaling="inside", unfreeze=80),
    "convnext_large": Backbone(
        family="applications", network="ConvNeXtLarge", scaling="inside", native_size=384, unfreeze=120, gpu=_LARGE
    ),
    "dinov2_small": Backbone(
        family="dinov2",
        network="dinov2_with_registers_small",
        scaling="imagenet",
        smallest_size=14,
        unfreeze=0,
        dropout=0.0,
    ),
}


def find_backbone(name: str) -> Backbone:
    """Looks a backbone up.

    Raises:
        BadConfigError: the name is not in the registry.
    """
    if name not in BACKBONES:
        raise BadConfigError(f"backbone {name!r}", f"one of {', '.join(BACKBONES)}", "Mend the backbones parameter.")
    return BACKBONES[name]


def find_published(name: str) -> Backbone:
    """Looks up a backbone whose authors publish weights.

    Raises:
        BadConfigError: the name is not in the registry, or nobody has published weights of it.
    """
    backbone = find_backbone(name)
    if not backbone.published:
        raise BadConfigError(
            f"weights 'imagenet' of {name}, which nobody has published",
            "'none' or a file",
            "Set weights: none in the recipe, or give a path or URI.",
        )
    return backbone
