"""Values relative to what is usual for the species answered.

Species differ more from each other than an artefact changes a slice, and a window holds only some of them. Seen from
its species' centre, a slice shows the artefact; the mix of species is watched by itself.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Names = NDArray[np.str_]

PRIOR_SLICES = 5
NEIGHBOUR = 5
_BLOCK = 1000


class SpeciesCentres:
    """Centres of the reference's values, one for each answered species.

    A centre is the mean of the species' slices and of PRIOR_SLICES slices of the overall mean, so that a species with
    few slices, or none, is measured from the middle of everything.

    Args:
        values: float64 [N, D] of the reference.
        species: [N] as the model answered.
        specimens: [N].
    """

    def __init__(self, values: Floats, species: Names, specimens: Names) -> None:
        self._values, self._species, self._specimens = values, species, specimens
        self._prior = PRIOR_SLICES * values.mean(axis=0)
        self._sums = {name: values[species == name].sum(axis=0) for name in np.unique(species)}
        self._counts = {name: int((species == name).sum()) for name in self._sums}

    @property
    def length(self) -> int:
        """D."""
        return self._values.shape[1]

    def differences(self, values: Floats, species: Names) -> Floats:
        """Returns float64 [N, D]: values [N, D] less the centres of the species answered [N]."""
        centres = {name: self._centre(name, np.zeros(self.length), 0) for name in np.unique(species)}
        return values - np.stack([centres[name] for name in species])

    def reference_differences(self) -> Floats:
        """Returns float64 [N, D] for the reference itself, each slice measured from its species' other specimens.

        Leaving the own specimen out makes a slice of the reference as unusual as one of a new specimen would be.
        """
        found = np.empty_like(self._values)
        for specimen in np.unique(self._specimens):
            own = self._specimens == specimen
            for name in np.unique(self._species[own]):
                rows = own & (self._species == name)
                found[rows] = self._values[rows] - self._centre(name, self._values[rows].sum(axis=0), int(rows.sum()))
        return found

    def _centre(self, name: str, left_out_sum: Floats, left_out: int) -> Floats:
        total = self._sums.get(name, 0.0) - left_out_sum + self._prior
        return np.asarray(total / (self._counts.get(name, 0) - left_out + PRIOR_SLICES))


class EmbeddingDistances:
    """How far an embedding lies from its species' centre and from its neighbours: what drift of embeddings is seen by.

    The distance from the centre is the root mean square over the dimensions of difference / spread, where spread is the
    standard deviation of the reference's own differences. The distance from the neighbours is that from the
    NEIGHBOUR-th nearest slice of the reference, of other specimens for the reference itself, each dimension over its
    standard deviation (Sun et al. 2022, out-of-distribution detection with deep nearest neighbours).

    Args:
        embeddings: float64 [N, D] of the reference.
        species: [N] as the model answered.
        specimens: [N].
    """

    def __init__(self, embeddings: Floats, species: Names, specimens: Names) -> None:
        self._centres = SpeciesCentres(embeddings, species, specimens)
        self._reference = self._centres.reference_differences()
        deviation = self._reference.std(axis=0)
        self._spread = deviation + 0.01 * deviation.mean() + 1e-9
        usual = embeddings.std(axis=0)
        self._scale = usual + 0.01 * usual.mean() + 1e-9
        self._known, self._specimens = embeddings / self._scale, specimens

    @property
    def length(self) -> int:
        """D."""
        return self._centres.length

    def of_reference(self) -> Floats:
        """Returns float64 [N] for the reference itself."""
        return self._scaled(self._reference)

    def of(self, embeddings: Floats, species: Names) -> Floats:
        """Returns float64 [N] for embeddings [N, D] with the species answered [N]."""
        return self._scaled(self._centres.differences(embeddings, species))

    def neighbours_of_reference(self) -> Floats:
        """Returns float64 [N] for the reference itself."""
        squares = self._squares(self._known)
        squares[self._specimens[:, None] == self._specimens[None, :]] = np.inf
        return _nearest(squares)

    def neighbours_of(self, embeddings: Floats) -> Floats:
        """Returns float64 [N] for embeddings [N, D]."""
        scaled = embeddings / self._scale
        blocks = [scaled[start : start + _BLOCK] for start in range(0, len(scaled), _BLOCK)]
        return np.concatenate([_nearest(self._squares(block)) for block in blocks])

    def _squares(self, scaled: Floats) -> Floats:
        """Returns the squared distances [N, R] from the R slices of the reference."""
        lengths = (scaled**2).sum(axis=1)[:, None] + (self._known**2).sum(axis=1)[None, :]
        return np.asarray(np.maximum(lengths - 2 * scaled @ self._known.T, 0))

    def _scaled(self, differences: Floats) -> Floats:
        return np.asarray(np.sqrt(((differences / self._spread) ** 2).mean(axis=1)))


def _nearest(squares: Floats) -> Floats:
    return np.asarray(np.sqrt(np.partition(squares, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]))
