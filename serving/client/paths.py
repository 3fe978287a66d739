"""Paths in one text, as `make ask IMAGES=...` passes them."""

import shlex
from pathlib import Path

from components.shared.model_repository import find_models, version_folder


def paths_of(text: str) -> list[Path]:
    """Split a text into paths: the whole text if it exists, else shell words, else the longest runs that exist."""
    if Path(text).exists():
        return [Path(text)]
    try:
        words = shlex.split(text)
    except ValueError:  # an apostrophe in a name
        words = text.split()
    if all(Path(word).exists() for word in words):
        return [Path(word) for word in words]
    return _longest_paths(text.split(" "))


def _longest_paths(words: list[str]) -> list[Path]:
    paths = []
    while words:
        ends = range(len(words), 0, -1)
        end = next((end for end in ends if Path(" ".join(words[:end])).exists()), 1)
        if words[0]:
            paths.append(Path(" ".join(words[:end])))
        words = words[end if words[0] else 1 :]
    return paths


def example_paths(repository: Path, model: str) -> list[Path]:
    """Return the folder with the example slices of the newest version of a model, else the repository."""
    versions = {name: numbers for name, numbers in find_models(repository).items() if model in ("", name)}
    folders = [version_folder(repository, name, numbers[-1]) / "examples" for name, numbers in versions.items()]
    return [folder for folder in folders if folder.is_dir()][-1:] or [repository]
