"""Addresses of the container images: the only module that names them.

`TAXONFLOW_REGISTRY` sets the registry and `TAXONFLOW_TAG` the tag when a pipeline is compiled.
"""

import os

from components import __version__

_REGISTRY = os.environ.get("TAXONFLOW_REGISTRY", "")
_TAG = os.environ.get("TAXONFLOW_TAG") or __version__


def image(name: str) -> str:
    """Return the full address of one of the images built from this repository."""
    prefix = f"{_REGISTRY.rstrip('/')}/" if _REGISTRY else ""
    return f"{prefix}taxonflow/{name}:{_TAG}"


COMPONENT_IMAGE = image("python-cpu")
TRAINING_IMAGE = image("python-gpu")
SERVING_IMAGE = image("serving")
MONITORING_IMAGE = image("monitoring")
TENSORFLOW_SERVING_VERSION = "2.19.1"
"""Tag of TensorFlow Serving's image; `-gpu` is appended where a GPU is requested."""
