"""Values relative to the mean of the predicted species.

Species differ more from each other than an artefact changes a slice, and a window has only some of them. Differences
from the species mean show the artefact; the species mix is tested separately.
"""

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.distances import Floats

Names = NDArray[np.str_]

PRIOR_SLICES = 5
NEIGHBOUR = 5
_BLOCK = 1000


class SpeciesBaseline:
    """Mean of the reference's values for each predicted species.

    Each mean includes PRIOR_SLICES pseudo-slices with the overall mean, so a species with few or no slices is compared
    with the overall mean.

    Args:
        values: Values of the reference, float64 [N, D].
        species: Predicted species, [N].
        specimens: Specimen of each slice, [N].
    """

    def __init__(self, values: Floats, species: Names, specimens: Names) -> None:
        self._values, self._species, self._specimens = values, species, specimens
        self._prior = PRIOR_SLICES * values.mean(axis=0)
        self._sums = {name: values[species == name].sum(axis=0) for name in np.unique(species)}
        self._counts = {name: int((species == name).sum()) for name in self._sums}

    @property
    def length(self) -> int:
        """Number of values per slice (D)."""
        return self._values.shape[1]

    def differences(self, values: Floats, species: Names) -> Floats:
        """Return values [N, D] minus the means of their predicted species [N], float64 [N, D]."""
        means = {name: self._mean(name, np.zeros(self.length), 0) for name in np.unique(species)}
        return values - np.stack([means[name] for name in species])

    def reference_differences(self) -> Floats:
        """Return the differences of the reference, float64 [N, D], each from the other specimens of its species.

        Excluding the slice's own specimen makes the reference comparable with new specimens.
        """
        differences = np.empty_like(self._values)
        for specimen in np.unique(self._specimens):
            own = self._specimens == specimen
            for name in np.unique(self._species[own]):
                rows = own & (self._species == name)
                mean = self._mean(name, self._values[rows].sum(axis=0), int(rows.sum()))
                differences[rows] = self._values[rows] - mean
        return differences

    def _mean(self, name: str, excluded_sum: Floats, excluded_count: int) -> Floats:
        total = self._sums.get(name, 0.0) - excluded_sum + self._prior
        return np.asarray(total / (self._counts.get(name, 0) - excluded_count + PRIOR_SLICES))


class EmbeddingBaseline:
    """Distances of embeddings from the mean of their species and from their neighbours in the reference.

    The species distance is the root mean square over the dimensions of difference / spread, where spread is the
    standard deviation of the reference's own differences. The neighbour distance is the distance from the NEIGHBOUR-th
    nearest slice of the reference, with each dimension divided by its standard deviation; for the reference itself,
    slices of the same specimen are excluded (Sun et al. 2022, out-of-distribution detection with deep nearest
    neighbours).

    Args:
        embeddings: Embeddings of the reference, float64 [N, D].
        species: Predicted species, [N].
        specimens: Specimen of each slice, [N].
    """

    def __init__(self, embeddings: Floats, species: Names, specimens: Names) -> None:
        self._baseline = SpeciesBaseline(embeddings, species, specimens)
        self._differences = self._baseline.reference_differences()
        deviation = self._differences.std(axis=0)
        self._spread = deviation + 0.01 * deviation.mean() + 1e-9
        scale = embeddings.std(axis=0)
        self._scale = scale + 0.01 * scale.mean() + 1e-9
        self._scaled, self._specimens = embeddings / self._scale, specimens

    @property
    def length(self) -> int:
        """Number of dimensions (D)."""
        return self._baseline.length

    def reference_species_distances(self) -> Floats:
        """Return the species distances of the reference, float64 [N]."""
        return self._root_mean_square(self._differences)

    def species_distances(self, embeddings: Floats, species: Names) -> Floats:
        """Return the species distances of embeddings [N, D] with predicted species [N], float64 [N]."""
        return self._root_mean_square(self._baseline.differences(embeddings, species))

    def reference_neighbour_distances(self) -> Floats:
        """Return the neighbour distances of the reference, float64 [N]."""
        squares = self._squares(self._scaled)
        squares[self._specimens[:, None] == self._specimens[None, :]] = np.inf
        return _nearest(squares)

    def neighbour_distances(self, embeddings: Floats) -> Floats:
        """Return the neighbour distances of embeddings [N, D], float64 [N]."""
        points = embeddings / self._scale
        blocks = [points[start : start + _BLOCK] for start in range(0, len(points), _BLOCK)]
        return np.concatenate([_nearest(self._squares(block)) for block in blocks])

    def _squares(self, points: Floats) -> Floats:
        """Return the squared distances [N, R] from the R slices of the reference."""
        lengths = (points**2).sum(axis=1)[:, None] + (self._scaled**2).sum(axis=1)[None, :]
        return np.asarray(np.maximum(lengths - 2 * points @ self._scaled.T, 0))

    def _root_mean_square(self, differences: Floats) -> Floats:
        return np.asarray(np.sqrt(((differences / self._spread) ** 2).mean(axis=1)))


def _nearest(squares: Floats) -> Floats:
    return np.asarray(np.sqrt(np.partition(squares, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]))
