"""Feature banks: features of the training slices, for the scores that measure distances from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from components.shared.metrics import Labels

SMALLEST_NORM = 1e-12
Features = NDArray[np.float32]


@dataclass(frozen=True)
class LayerBank:
    """Statistics of one layer for training slices, whitened so that the scatter within species is a unit ball.

    Attributes:
        mean: Mean of the statistics, float32 [D].
        whitening_matrix: Matrix that whitens centred statistics, float32 [D, D].
        bank: Whitened statistics of the training slices, float32 [B, D].
    """

    mean: Features
    whitening_matrix: Features
    bank: Features

    @classmethod
    def fit(cls, statistics: Features, labels: Labels) -> "LayerBank":
        """Return the bank of training slices with statistics float32 [B, D] and labels int64 [B]."""
        mean = statistics.mean(axis=0, dtype=np.float64)
        offsets = statistics - mean
        matrix = _whitening_matrix(offsets, labels)
        return cls(*(array.astype(np.float32) for array in (mean, matrix, offsets @ matrix)))

    def distances(self, statistics: Features) -> NDArray[np.float64]:
        """Return the distance of slices to their nearest training slice, as a root mean square over the D numbers."""
        points = (statistics.astype(np.float64) - self.mean) @ self.whitening_matrix
        squares = nearest_square(points, self.bank.astype(np.float64))
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
    def fit(cls, embedding: Features, labels: Labels, layers: Sequence[Features]) -> "FeatureBank":
        """Return the bank of training slices.

        Args:
            embedding: Embeddings of the slices, float32 [B, D].
            labels: Labels of the slices, int64 [B].
            layers: Statistics of each of the last layers, float32 [B, 2 * C].
        """
        bank = unit_rows(embedding.astype(np.float64))
        matrix = _whitening_matrix(bank, labels)
        centres = _means_by_species(bank, labels)[0] @ matrix
        layer_banks = tuple(LayerBank.fit(statistics, labels) for statistics in layers)
        return cls(bank.astype(np.float32), matrix.astype(np.float32), centres.astype(np.float32), layer_banks)


def unit_rows(embedding: NDArray[Any]) -> NDArray[Any]:
    """Scale the rows of a matrix [N, D] to unit length; rows of zeros stay zero."""
    return np.asarray(embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), SMALLEST_NORM))


def nearest_square(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Return the smallest squared distance of points [N, D] to centres [K, D]."""
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(squares.min(axis=1))


def _means_by_species(features: NDArray[np.float64], labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the mean of each species, float64 [K, D], and the row in it of each slice, int64 [B]."""
    species, owner = np.unique(labels, return_inverse=True)
    return np.stack([features[owner == number].mean(axis=0) for number in range(len(species))]), owner


def _whitening_matrix(features: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Return the matrix that makes the scatter of features [B, D] within species a unit ball, float64 [D, D]."""
    means, owner = _means_by_species(features, labels)
    scatter, _ = ledoit_wolf(features - means[owner], assume_centered=True)
    ridge = 1e-9 * max(np.trace(scatter) / len(scatter), 1e-12)
    return np.linalg.cholesky(np.linalg.inv(scatter + ridge * np.eye(len(scatter))))
