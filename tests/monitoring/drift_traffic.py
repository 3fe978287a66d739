"""Drift events as the server writes them, for slices with descriptors and predictions, and their drift scores."""

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from components.shared.contracts import DriftEvent
from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS
from monitoring.drift.features import PREDICTION_FEATURES, WINDOW_FEATURES
from monitoring.drift.windows import Stream, Window

MODEL = "forams"
SLICE_FEATURES = (*DESCRIPTORS, *PREDICTION_FEATURES)
FEATURES = (*SLICE_FEATURES, *WINDOW_FEATURES)
"""Features of grey slices, in the order of the results."""


def events_of(predictions: pd.DataFrame, version: int = 1, start: float = 1.8e9) -> list[DriftEvent]:
    """Return an event for each row, one second apart."""
    return [
        DriftEvent(
            id=uuid.uuid4().hex,
            time=start + number,
            model=MODEL,
            version=version,
            descriptors={name: row[name] for name in (*DESCRIPTORS, *COLOUR_DESCRIPTORS) if name in row},
            embedding=tuple(map(float, row["embedding"])),
            specimen_unknown=bool(row["unknown"]),
            **{name: row[name] for name in ("specimen", "species", "confidence", "unknown")},
        )
        for number, row in enumerate(predictions.to_dict("records"))
    ]


def append_events(path: Path, events: Iterable[DriftEvent]) -> None:
    """Append events to a file as the server does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(event.to_line() + "\n" for event in events)


def window_of(events: Sequence[DriftEvent]) -> Window:
    """Return a window with exactly these events."""
    return Window(Stream(events[0].model, events[0].version), 1, tuple(events))


def drift_score(reference: pd.Series, window: pd.Series) -> float:
    """Return the score of a feature as Evidently defines it, computed by scipy."""
    if window.dtype == object:
        names = sorted({*reference, *window})
        return float(jensenshannon(*([(side == name).mean() for name in names] for side in (reference, window))))
    return float(wasserstein_distance(reference, window) / max(float(np.std(reference)), 0.001))
