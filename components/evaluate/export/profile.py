"""The reference profile: descriptors and answers of held-out slices, for the monitor.

Of a large data set it holds a sample, the same share of every specimen's slices, since specimens are what the monitor's
thresholds are resampled from.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.shared.metrics import Scores, Specimens

MOST_SLICES = 5000
"""More than twice what the monitor compares with (`MonitorConfig.reference_slices`)."""


def reference_profile(
    described: pd.DataFrame,
    specimens: Specimens,
    scores: Scores,
    embedding: NDArray[np.float32],
    classes: Sequence[str],
    unknown: NDArray[np.bool_],
) -> pd.DataFrame:
    """Puts what the index and the ensemble say of held-out slices as drift events say it of traffic.

    Args:
        described: descriptors of N segmented slices, a column each.
        specimens: the specimen of each, [N].
        scores: of the ensemble, float32 [N, K].
        embedding: of the ensemble, float32 [N, D].
        classes: species in the order of the scores.
        unknown: whether each slice is taken for an unknown species, bool [N].

    Returns:
        What `components.shared.reference_profile.write_reference` takes.
    """
    confidence = scores.max(axis=1)
    return described.assign(
        specimen=specimens,
        species=np.asarray(classes)[scores.argmax(axis=1)],
        confidence=confidence.astype(np.float64),
        unknown=unknown,
        embedding=list(embedding),
    )
