"""Entry of `dataset.json` on a volume whose mask may not show one specimen."""

from components.shared.config import Frozen


class DoubtfulMask(Frozen):
    """A volume whose mask is doubtful, with the reasons for it."""

    path: str
    reasons: tuple[str, ...]
