"""Projection of standardized embeddings to their principal components, whitened within species or as they are.

With many species and few specimens of each, the directions in which specimens of one species differ are known better
than the differences between two species, since all species contribute to them. Linear discriminant analysis uses them
(Fisher 1936); here they are a linear map in front of a regression.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

VARIANCE, FEWEST_COMPONENTS = 0.995, 256
"""Share of the total variance that the components hold, and their least number; fewer of them are fitted faster."""

_RIDGE, _SMALLEST = 1e-6, 1e-12
"""Share of the mean variance that is added to the covariance within species, which may be zero, and least variance."""

Matrix = NDArray[np.float32]
Block = tuple[Matrix, NDArray[np.int64]]


@dataclass(frozen=True)
class Scatter:
    """Sums of products of embeddings with a mean of 0.

    Attributes:
        total: Sums over all embeddings, float64 [D, D].
        within: Sums over the differences of embeddings from the mean of their species, float64 [D, D].
    """

    total: NDArray[np.float64]
    within: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Iterable[Block], classes: int) -> Self:
        """Add up the products of embeddings in blocks with labels below the number of species."""
        total, sums, counts = np.zeros(()), np.zeros(()), np.zeros(classes)
        for embedding, labels in blocks:
            species = np.eye(classes, dtype=np.float32)[labels]
            total = total + embedding.T @ embedding
            sums = sums + (species.T @ embedding).astype(np.float64)
            counts += species.sum(axis=0)
        means = sums / np.maximum(counts, 1)[:, None]
        return cls(total, total - means.T @ sums)

    @cached_property
    def components(self) -> NDArray[np.float64]:
        """Principal components that hold VARIANCE, those of the largest variance first, float64 [D, R]."""
        variances, vectors = eigh(self.total)
        shares = np.cumsum(variances[::-1]) / max(variances.sum(), _SMALLEST)
        count = max(int(np.searchsorted(shares, VARIANCE)) + 1, FEWEST_COMPONENTS)
        return np.asarray(vectors[:, ::-1][:, :count])

    def projection(self, shrinkage: float) -> Matrix:
        """Return the matrix that projects embeddings, multiplied from the right, float32 [D, R].

        The covariance within species is shrunk towards a multiple of the identity (Friedman 1989, regularized
        discriminant analysis). The total variance stays the same, so that a penalty keeps its meaning.

        Args:
            shrinkage: Weight of the identity, above 0 and at most 1; with 1 nothing is whitened.
        """
        total, within = (self.components.T @ scatter @ self.components for scatter in (self.total, self.within))
        size, identity = len(total), np.eye(len(total))
        spread = max(np.trace(total), _SMALLEST) / size
        shrunk = (1 - shrinkage) * within + (shrinkage * np.trace(within) / size + _RIDGE * spread) * identity
        transform = solve_triangular(cholesky(shrunk, lower=True), identity, lower=True).T
        scale = np.sqrt(size * spread / max(np.sum(transform * (total @ transform)), _SMALLEST))
        return (scale * self.components @ transform).astype(np.float32)
