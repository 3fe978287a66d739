"""Addresses of the container images: the only module that names them.

`TAXONFLOW_REGISTRY` sets the registry and `TAXONFLOW_TAG` the tag when a pipeline is compiled.
"""

import os

from components import __version__

PREFIX = "taxonflow"
IMAGE_NAMES = ("python-cpu", "python-gpu", "serving", "monitoring")
REGISTRY_VARIABLE, TAG_VARIABLE = "TAXONFLOW_REGISTRY", "TAXONFLOW_TAG"

_REGISTRY = os.environ.get(REGISTRY_VARIABLE, "")
_TAG = os.environ.get(TAG_VARIABLE) or __version__


def image(name: str) -> str:
    """Return the full address of one of the images built from this repository."""
    prefix = f"{_REGISTRY.rstrip('/')}/" if _REGISTRY else ""
    return f"{prefix}{PREFIX}/{name}:{_TAG}"


def image_variables() -> dict[str, str]:
    """Return the environment in which a step names the images of the same registry and tag as this process."""
    return {REGISTRY_VARIABLE: _REGISTRY, TAG_VARIABLE: _TAG}


COMPONENT_IMAGE = image("python-cpu")
TRAINING_IMAGE = image("python-gpu")
SERVING_IMAGE = image("serving")
MONITORING_IMAGE = image("monitoring")
TENSORFLOW_SERVING_VERSION = "2.19.1"
"""Tag of TensorFlow Serving's image; `-gpu` is appended where a GPU is requested."""
