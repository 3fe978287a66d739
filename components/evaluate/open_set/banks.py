"""Feature banks: features of the training slices, for the scores that measure distances from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf, shrunk_covariance

from components.shared.metrics import Labels, Specimens

SMALLEST_NORM = 1e-12

NEIGHBOURS = 10
"""Number of training slices of other specimens from which the spacing of the bank around a slice is computed."""

SPACED_SHRINKAGE = 0.8
"""Weight of the identity, times the mean variance, in the scatter of a spaced bank. The weight that Ledoit and Wolf
estimate is too small, since it assumes independent slices, and slices of one specimen are not."""

_BLOCK = 512

Features = NDArray[np.float32]


@dataclass(frozen=True)
class LayerBank:
    """Statistics of one layer for training slices, whitened so that the scatter within species is a unit ball.

    Attributes:
        mean: Mean of the statistics, float32 [D].
        whitening_matrix: Matrix that whitens centred statistics, float32 [D, D].
        bank: Whitened statistics of the training slices, float32 [B, D].
        spacing: Distance around each training slice that counts as one, float32 [B]; None for a distance of one.
    """

    mean: Features
    whitening_matrix: Features
    bank: Features
    spacing: Features | None = None

    @classmethod
    def fit(cls, statistics: Features, labels: Labels) -> "LayerBank":
        """Return the bank of training slices with statistics float32 [B, D] and labels int64 [B]."""
        mean = statistics.mean(axis=0, dtype=np.float64)
        offsets = statistics - mean
        matrix = _whitening_matrix(offsets, labels)
        return cls(*(array.astype(np.float32) for array in (mean, matrix, offsets @ matrix)))

    @classmethod
    def fit_spaced(cls, statistics: Features, labels: Labels, specimens: Specimens) -> "LayerBank":
        """Return the bank of training slices with the spacing around each, as in local outlier factors.

        Distances between slices of varied forms are larger than between those of plain ones, so an unknown plain form
        is farther than usual only in relation to its neighbours (Breunig et al. 2000).

        Args:
            statistics: Statistics of the slices, float32 [B, D].
            labels: Labels of the slices, int64 [B].
            specimens: Specimen of each slice, [B].
        """
        mean = statistics.mean(axis=0, dtype=np.float64)
        offsets = statistics - mean
        matrix = _whitening_matrix(offsets, labels, SPACED_SHRINKAGE)
        bank = (offsets @ matrix).astype(np.float32)
        return cls(mean.astype(np.float32), matrix.astype(np.float32), bank, _spacing(bank, labels, specimens))

    def distances(self, statistics: Features) -> NDArray[np.float64]:
        """Return the distance of slices to their nearest training slice, as a root mean square over the D numbers.

        In a spaced bank each distance is divided by the spacing around the training slice.
        """
        points = (statistics.astype(np.float64) - self.mean) @ self.whitening_matrix
        squares = nearest_square(points, self.bank.astype(np.float64), self.spacing)
        return np.asarray(np.sqrt(np.maximum(squares, 0) / len(self.mean)))


@dataclass(frozen=True)
class FeatureBank:
    """Embeddings of training slices of one member, scaled to unit length, and the banks of its last layers.

    Attributes:
        bank: Embeddings of the training slices, float32 [B, D].
        whitening_matrix: Matrix that makes the scatter within species a unit ball, float32 [D, D].
        centres: Mean of each species after whitening, float32 [K, D].
        layers: Bank of each of the last layers; of the embedding alone for a network without statistics of layers.
    """

    bank: Features
    whitening_matrix: Features
    centres: Features
    layers: tuple[LayerBank, ...]

    @classmethod
    def fit(
        cls, embedding: Features, labels: Labels, layers: Sequence[Features], specimens: Specimens | None = None
    ) -> "FeatureBank":
        """Return the bank of training slices.

        Args:
            embedding: Embeddings of the slices, float32 [B, D].
            labels: Labels of the slices, int64 [B].
            layers: Statistics of each of the last layers, float32 [B, 2 * C].
            specimens: Specimen of each slice, [B], for banks of layers with a spacing; None for banks without it.
        """
        bank = unit_rows(embedding.astype(np.float64))
        matrix = _whitening_matrix(bank, labels)
        centres = _means_by_species(bank, labels)[0] @ matrix
        layer_banks = tuple(
            LayerBank.fit(statistics, labels)
            if specimens is None
            else LayerBank.fit_spaced(statistics, labels, specimens)
            for statistics in layers
        )
        return cls(bank.astype(np.float32), matrix.astype(np.float32), centres.astype(np.float32), layer_banks)


def unit_rows(embedding: NDArray[Any]) -> NDArray[Any]:
    """Scale the rows of a matrix [N, D] to unit length; rows of zeros stay zero."""
    return np.asarray(embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), SMALLEST_NORM))


def nearest_square(points: NDArray[Any], centres: NDArray[Any], spacing: Features | None = None) -> NDArray[Any]:
    """Return the smallest squared distance of points [N, D] to centres [K, D], in units of the spacing [K]."""
    squares = _squares(points, centres)
    return np.asarray((squares if spacing is None else squares / spacing.astype(np.float64) ** 2).min(axis=1))


def _squares(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Return the squared distances of points [N, D] to centres [K, D], [N, K]."""
    return np.asarray((points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1))


def _spacing(bank: Features, labels: Labels, specimens: Specimens) -> Features:
    """Return the mean distance of each slice [B, D] to its nearest ones of other specimens, float32 [B].

    It is at least a tenth of the median, the median for a species of one specimen, whose neighbours are all of other
    species, and 1 for a bank of one specimen or of which most slices are equal.
    """
    owner = np.unique(specimens, return_inverse=True)[1]
    points, spacing = bank.astype(np.float64), np.zeros(len(bank))
    for begin in range(0, len(bank), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        squares = np.maximum(_squares(points[rows], points), 0)
        squares[owner[rows, None] == owner] = np.inf
        squares = np.partition(squares, min(NEIGHBOURS, len(bank)) - 1, axis=1)[:, :NEIGHBOURS]
        nearest = np.sqrt(squares / bank.shape[1])
        count = np.isfinite(nearest).sum(axis=1)
        spacing[rows] = np.where(np.isfinite(nearest), nearest, 0).sum(axis=1) / np.maximum(count, 1)
    counts = {label: len(np.unique(owner[labels == label])) for label in np.unique(labels).tolist()}
    has_neighbours = np.array([counts[label] > 1 for label in labels.tolist()])
    spacing[~has_neighbours] = np.median(spacing[has_neighbours]) if has_neighbours.any() else np.median(spacing)
    floor = 0.1 * float(np.median(spacing))
    return np.maximum(spacing, floor).astype(np.float32) if floor > 0 else np.ones(len(bank), np.float32)


def _means_by_species(features: NDArray[np.float64], labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the mean of each species, float64 [K, D], and the row in it of each slice, int64 [B]."""
    species, owner = np.unique(labels, return_inverse=True)
    return np.stack([features[owner == number].mean(axis=0) for number in range(len(species))]), owner


def _whitening_matrix(
    features: NDArray[np.float64], labels: Labels, shrinkage: float | None = None
) -> NDArray[np.float64]:
    """Return the matrix that makes the scatter of features within species a unit ball, float64 [D, D].

    Args:
        features: Features of the slices, float64 [B, D].
        labels: Labels of the slices, int64 [B].
        shrinkage: Share of the unit matrix in the scatter; None for that of Ledoit and Wolf.
    """
    means, owner = _means_by_species(features, labels)
    residuals = features - means[owner]
    if shrinkage is None:
        scatter, _ = ledoit_wolf(residuals, assume_centered=True)
    else:
        scatter = shrunk_covariance(residuals.T @ residuals / len(residuals), shrinkage)
    ridge = 1e-9 * max(np.trace(scatter) / len(scatter), 1e-12)
    return np.linalg.cholesky(np.linalg.inv(scatter + ridge * np.eye(len(scatter))))
