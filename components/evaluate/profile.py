"""The reference profile: descriptors and answers of held-out slices, for the monitor.

Describing a slice takes about as long as naming it, so of a large data set a sample is described: the same share of
every specimen's slices, since specimens are what the monitor's thresholds are resampled from.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.shared.descriptors import describe, descriptor_names
from components.shared.imaging import decode_image
from components.shared.metrics import Scores, Specimens

MOST_SLICES = 5000
"""More than twice what the monitor compares with (`MonitorConfig.reference_slices`)."""


def reference_profile(
    slices: Iterable[bytes],
    specimens: Specimens,
    scores: Scores,
    embedding: NDArray[np.float32],
    classes: Sequence[str],
    channels: int,
    unknown: NDArray[np.bool_],
) -> pd.DataFrame:
    """Describes held-out slices as the transformer describes traffic.

    Args:
        slices: N encoded segmented slices.
        specimens: the specimen of each, [N].
        scores: of the ensemble, float32 [N, K].
        embedding: of the ensemble, float32 [N, D].
        classes: species in the order of the scores.
        channels: 1 or 3.
        unknown: whether each slice is taken for an unknown species, bool [N].

    Returns:
        A table with `components.shared.reference.COLUMNS`.
    """
    described = [describe(decode_image(encoded, channels)) for encoded in slices]
    profile = pd.DataFrame(described, columns=list(descriptor_names(channels)))
    confidence = scores.max(axis=1)
    return profile.assign(
        specimen=specimens,
        species=np.asarray(classes)[scores.argmax(axis=1)],
        confidence=confidence.astype(np.float64),
        unknown=unknown,
        embedding=list(embedding),
    )
