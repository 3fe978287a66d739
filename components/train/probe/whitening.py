"""Whitening of embeddings by their covariance within species.

With many species and few specimens of each, the directions in which specimens of one species differ are known better
than the differences between two species, since all species contribute to them. Linear discriminant analysis uses them
(Fisher 1936); the head uses them as a linear map in front of its regression.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular


def whitening_matrix(
    blocks: Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]], classes: int, shrinkage: float
) -> NDArray[np.float32]:
    """Return the matrix that makes embeddings of one species differ equally in all directions.

    The covariance within species is shrunk towards a multiple of the identity (Friedman 1989, regularized discriminant
    analysis). The sum of the squares of all embeddings stays the same, so that a penalty keeps its meaning.

    Args:
        blocks: Embeddings with a mean of 0, float32 [N, D], and their labels, int64 [N].
        classes: Number of species.
        shrinkage: Weight of the identity, above 0 and at most 1; with 1 the matrix is the identity.

    Returns:
        float32 [D, D]; embeddings are multiplied by it from the right.
    """
    products, sums, counts = np.zeros(()), np.zeros(()), np.zeros(classes)
    for embedding, labels in blocks:
        species = np.eye(classes, dtype=np.float32)[labels]
        products = products + embedding.T @ embedding
        sums = sums + (species.T @ embedding).astype(np.float64)
        counts += species.sum(axis=0)
    means = sums / np.maximum(counts, 1)[:, None]
    within = products - means.T @ sums
    size = len(within)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / size * np.eye(size)
    matrix = solve_triangular(cholesky(shrunk, lower=True), np.eye(size), lower=True).T
    scale = np.sqrt(np.trace(products) / np.sum(matrix * (products @ matrix)))
    return (scale * matrix).astype(np.float32)
