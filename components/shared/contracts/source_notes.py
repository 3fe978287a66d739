"""Notes about usable source files, a part of `components.shared.contracts.SlicesInfo`."""

from components.shared.config import Frozen


class Note(Frozen):
    """A sentence about a usable source file, for example about contradictions in its header."""

    path: str
    text: str
