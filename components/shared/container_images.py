"""The container images of the system: the only module that names them.

`TAXONFLOW_REGISTRY` puts a registry in front when the pipeline is compiled, `TAXONFLOW_TAG` another tag.
"""

import os

from components import __version__

_REGISTRY = os.environ.get("TAXONFLOW_REGISTRY", "")
_TAG = os.environ.get("TAXONFLOW_TAG") or __version__


def image(name: str) -> str:
    """Returns the full address of one of the images built from this repository."""
    prefix = f"{_REGISTRY.rstrip('/')}/" if _REGISTRY else ""
    return f"{prefix}taxonflow/{name}:{_TAG}"


COMPONENT_IMAGE = image("python-cpu")
TRAINING_IMAGE = image("python-gpu")
SERVING_IMAGE = image("serving")
MONITORING_IMAGE = image("monitoring")
TENSORFLOW_SERVING_VERSION = "2.19.1-gpu"
