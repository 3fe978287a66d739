"""What made a model: versions of libraries, a digest of the code, digests of the networks."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

from components import __version__

_LIBRARIES = ("tensorflow", "keras", "numpy", "scikit-learn", "opencv-python-headless")


def library_versions() -> dict[str, str]:
    """Returns the versions of Taxonflow, Python and the libraries that a result depends on."""
    return {
        "taxonflow": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def code_digest() -> str:
    """Returns a SHA-256 over the source files of all steps, which is another one whenever one of them changes."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
