"""File names that operating systems and file servers write beside a user's files."""

_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "desktop.ini",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)


def is_system_file(path: str) -> bool:
    """Return whether a file is hidden, or written by the system rather than the user.

    Args:
        path: Path relative to the user's folder, with `/` between its parts.
    """
    return any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in path.split("/"))
