"""Parametric fishes: twelve species for a classifier and two unseen ones, which differ in form, fins and pattern.

They are invented and do not represent real species. Colours overlap intentionally: three species are silver, three are
golden, and the light varies, so that species are identified by outline, fins and pattern.
"""

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Tail = Literal["forked", "rounded", "straight", "crescent"]
Pattern = Literal["plain", "bars", "stripes", "spots", "saddles", "blotch"]

SILVER, STEEL, OLIVE, GOLD = (196, 204, 208), (104, 122, 138), (98, 106, 62), (214, 168, 66)
RED, BLUE, DARK, CREAM, BROWN = (196, 66, 48), (52, 104, 176), (38, 36, 40), (232, 222, 196), (118, 84, 54)


@dataclass(frozen=True)
class Fin:
    """A fin on the back or the belly.

    Attributes:
        begin: Position of its front end, as a share of the body's length from the snout.
        end: Position of its rear end, as a share of the body's length from the snout.
        height: Height as a share of the body's length.
        lean: Position of its highest point between begin and end, 0..1.
    """

    begin: float
    end: float
    height: float
    lean: float = 0.4


@dataclass(frozen=True)
class FishForm:
    """The form that all individuals of a species share.

    Attributes:
        depth: Largest height of the body as a share of its length.
        deepest: Position of the largest height, as a share of the length from the snout.
        tail: Form of the tail fin.
        dorsal: Fins on the back.
        anal: Fin on the belly.
        back: Colour of the back.
        belly: Colour of the belly.
        fins: Colour of the fins.
        marks: Colour of the pattern.
        pattern: Pattern on the flank.
        count: Number of bars, stripes, spots or saddles.
    """

    depth: float
    deepest: float
    tail: Tail
    dorsal: tuple[Fin, ...]
    anal: Fin
    back: Colour
    belly: Colour
    fins: Colour
    marks: Colour
    pattern: Pattern
    count: int = 0


FISHES: dict[str, FishForm] = {
    "Argentella": FishForm(
        0.24, 0.38, "forked", (Fin(0.42, 0.58, 0.11),), Fin(0.66, 0.8, 0.07), STEEL, SILVER, STEEL, DARK, "plain"
    ),
    "Barriga": FishForm(
        0.30,
        0.36,
        "forked",
        (Fin(0.3, 0.48, 0.15, 0.2), Fin(0.54, 0.7, 0.09)),
        Fin(0.62, 0.76, 0.09),
        OLIVE,
        GOLD,
        RED,
        DARK,
        "bars",
        7,
    ),
    "Chrysodon": FishForm(
        0.40, 0.42, "straight", (Fin(0.3, 0.76, 0.13, 0.2),), Fin(0.6, 0.78, 0.1), GOLD, CREAM, GOLD, BROWN, "plain"
    ),
    "Discala": FishForm(
        0.62,
        0.48,
        "straight",
        (Fin(0.3, 0.84, 0.12, 0.7),),
        Fin(0.38, 0.84, 0.12, 0.7),
        BLUE,
        GOLD,
        RED,
        DARK,
        "bars",
        4,
    ),
    "Elongata": FishForm(
        0.14, 0.4, "forked", (Fin(0.7, 0.84, 0.09),), Fin(0.7, 0.84, 0.09), OLIVE, CREAM, OLIVE, CREAM, "spots", 34
    ),
    "Fluvialis": FishForm(
        0.23,
        0.4,
        "straight",
        (Fin(0.4, 0.54, 0.1), Fin(0.74, 0.8, 0.04)),
        Fin(0.64, 0.74, 0.07),
        BROWN,
        GOLD,
        OLIVE,
        RED,
        "spots",
        26,
    ),
    "Gobiella": FishForm(
        0.20,
        0.26,
        "rounded",
        (Fin(0.26, 0.42, 0.12), Fin(0.48, 0.82, 0.1)),
        Fin(0.52, 0.82, 0.08),
        BROWN,
        CREAM,
        BROWN,
        DARK,
        "saddles",
        4,
    ),
    "Hyalina": FishForm(
        0.34, 0.4, "forked", (Fin(0.4, 0.6, 0.15),), Fin(0.6, 0.8, 0.11), STEEL, SILVER, RED, DARK, "stripes", 3
    ),
    "Ignita": FishForm(
        0.30, 0.4, "rounded", (Fin(0.34, 0.7, 0.2, 0.6),), Fin(0.6, 0.76, 0.14), RED, GOLD, RED, CREAM, "plain"
    ),
    "Lunata": FishForm(
        0.28,
        0.36,
        "crescent",
        (Fin(0.32, 0.48, 0.1, 0.1), Fin(0.6, 0.72, 0.16, 0.2)),
        Fin(0.62, 0.72, 0.15, 0.2),
        BLUE,
        SILVER,
        GOLD,
        DARK,
        "plain",
    ),
    "Maculosa": FishForm(
        0.42, 0.4, "rounded", (Fin(0.28, 0.8, 0.14, 0.3),), Fin(0.6, 0.8, 0.12), OLIVE, CREAM, OLIVE, DARK, "blotch", 1
    ),
    "Undulata": FishForm(
        0.11, 0.3, "rounded", (Fin(0.34, 0.96, 0.06, 0.5),), Fin(0.5, 0.96, 0.06, 0.5), DARK, GOLD, DARK, GOLD, "plain"
    ),
}
"""The species of the classifier, the most frequent one first."""

UNSEEN_FISHES: dict[str, FishForm] = {
    "Nocturna": FishForm(
        0.36, 0.3, "rounded", (Fin(0.3, 0.6, 0.24, 0.1),), Fin(0.5, 0.7, 0.16), DARK, BLUE, RED, CREAM, "spots", 10
    ),
    "Phantasma": FishForm(
        0.18, 0.5, "crescent", (Fin(0.2, 0.86, 0.24, 0.5),), Fin(0.8, 0.9, 0.05), BLUE, CREAM, BLUE, GOLD, "stripes", 2
    ),
}
ALL_FISHES = FISHES | UNSEEN_FISHES
