"""File names that operating systems and file servers write beside a user's files."""

SYSTEM_FOLDERS = frozenset(
    {"lost+found", "system volume information", "$recycle.bin", "recycler", "found.000", "#recycle", "#snapshot"}
    | {".trash", ".trashes", ".spotlight-v100", ".fseventsd", ".documentrevisions-v100", ".temporaryitems", ".snapshot"}
)
"""Folders of file systems in lower case; often they cannot be listed, and they contain no specimens."""
_IGNORED_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})


def is_system_folder(name: str) -> bool:
    """Return whether a folder belongs to the file system and not to the user."""
    return name.lower() in SYSTEM_FOLDERS or name.lower().startswith(".trash-")


def is_system_file(path: str) -> bool:
    """Return whether a file is hidden, or written by the system rather than the user.

    Args:
        path: Path relative to the user's folder, with `/` between its parts.
    """
    return any(
        part.startswith(".") or part.lower() in _IGNORED_NAMES or is_system_folder(part) for part in path.split("/")
    )
