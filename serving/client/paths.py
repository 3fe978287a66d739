"""Paths in one text, as `make ask IMAGES=...` passes them."""

import shlex
from pathlib import Path


def path_exists(path: Path) -> bool:
    """Return whether a path exists; False also for a name that no file can have, such as one that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def paths_of(text: str) -> list[Path]:
    """Split a text into paths: the whole text if it exists, else shell words, else the longest runs that exist."""
    if path_exists(Path(text)):
        return [Path(text)]
    try:
        words = shlex.split(text)
    except ValueError:  # an apostrophe in a name
        words = text.split()
    paths = [Path(word) for word in words]
    return paths if all(map(path_exists, paths)) else _longest_paths(text.split(" "))


def _longest_paths(words: list[str]) -> list[Path]:
    """Join words to the longest paths that exist; a word with which none begins is a path of its own."""
    paths: list[Path] = []
    while words:
        if not words[0]:  # another blank between two paths
            words = words[1:]
            continue
        lengths = range(len(words), 0, -1)
        length = next((length for length in lengths if path_exists(Path(" ".join(words[:length])))), 1)
        paths.append(Path(" ".join(words[:length])))
        words = words[length:]
    return paths
