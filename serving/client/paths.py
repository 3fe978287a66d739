"""Paths in one text, as `make ask IMAGES=...` passes them."""

import shlex
from pathlib import Path


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
