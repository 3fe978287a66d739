"""The head of a probe as a penalized logistic regression, which is fitted to its optimum.

With few specimens, many heads classify all training slices correctly. Gradient steps stop at one that depends on step
size and number of epochs; the penalized one is unique. For the penalty, features are standardized, and where an
embedding concatenates several vectors, each of them gets the same total variance. Their principal
components are whitened within species or left as they are, whichever validates better. All of this is absorbed into the
weights of the head.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from components.train.probe.projection import Block, Matrix, Scatter
from components.train.probe.table import FeatureTable
from components.train.recipe import HEAD_FITS

LOGITS = "logits"
_ITERATIONS, _TOLERANCE = 100, 1e-7
_SMALLEST_DEVIATION = 1e-3
_BLOCK = 4096
_LARGEST_TABLE = 2**30  # bytes of projected embeddings that are kept in memory
Optimum = NDArray[np.float64]


@dataclass(frozen=True)
class HeadData:
    """Training data of a head.

    Attributes:
        table: Embeddings of the training slices.
        classes: Number of species.
        label_smoothing: Share of each label spread over all species.
        class_weights: Weight of each species, float32 [K].
        parts: Numbers of features of the vectors that the embedding concatenates.
    """

    table: FeatureTable
    classes: int
    label_smoothing: float
    class_weights: Matrix
    parts: tuple[int, ...]

    @cached_property
    def moments(self) -> tuple[Matrix, Matrix]:
        """Return mean and divisor of each feature, float32 [D]: its standard deviation over the scale of its part."""
        count, total, squares = 0, np.zeros(()), np.zeros(())
        for embedding, _ in self._raw_blocks():
            count += len(embedding)
            total = total + embedding.sum(axis=0, dtype=np.float64)
            squares = squares + np.square(embedding, dtype=np.float64).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0)) + _SMALLEST_DEVIATION
        return mean.astype(np.float32), (deviation / _scales(self.parts)).astype(np.float32)

    @cached_property
    def scatter(self) -> Scatter:
        """Return the products of the standardized embeddings of all views."""
        return Scatter.of(self.blocks(), self.classes)

    @cached_property
    def total_weight(self) -> float:
        """Return the sum of the weights of all views."""
        return float(self.class_weights[self.table.labels].sum()) * self.table.rows.shape[1]

    def blocks(self) -> Iterator[Block]:
        """Yield standardized embeddings float32 [N, D] and labels of all views in blocks."""
        mean, divisor = self.moments
        for embedding, labels in self._raw_blocks():
            yield (embedding - mean) / divisor, labels

    def _raw_blocks(self) -> Iterator[Block]:
        views = self.table.rows.shape[1]
        for begin in range(0, self.table.rows.size, _BLOCK):
            numbers = np.arange(begin, min(begin + _BLOCK, self.table.rows.size))
            embedding, labels = self.table.batch(numbers // views, numbers % views)
            yield embedding.astype(np.float32), labels


@dataclass(frozen=True)
class ProjectedData:
    """Training data of a head with projected embeddings.

    Attributes:
        data: Embeddings, labels and weights.
        shrinkage: Shrinkage of the covariance within species; with 1 embeddings are not whitened.
    """

    data: HeadData
    shrinkage: float

    @cached_property
    def projection(self) -> Matrix:
        """Return the projection of standardized embeddings, float32 [D, R]."""
        return self.data.scatter.projection(self.shrinkage)

    def blocks(self) -> Iterable[Block]:
        """Return projected embeddings float32 [N, R] and labels of all views in blocks, kept in memory if small."""
        size = self.data.table.rows.size * self.projection.shape[1] * np.dtype(np.float32).itemsize
        return self._blocks_in_memory if size <= _LARGEST_TABLE else self._projected_blocks()

    @cached_property
    def _blocks_in_memory(self) -> list[Block]:
        return list(self._projected_blocks())

    def _projected_blocks(self) -> Iterator[Block]:
        for embedding, labels in self.data.blocks():
            yield embedding @ self.projection, labels


class PenalizedHead(keras.callbacks.Callback):
    """Set the head at the start of each epoch to the optimum for the epoch's shrinkage and penalty.

    Each fit starts from the optimum of the previous penalty; a resumed training repeats the fits before.

    Args:
        data: Training data of the head.
        first_epoch: Number of the epoch of the first fit, counted from 0 over all phases.
    """

    def __init__(self, data: HeadData, first_epoch: int) -> None:
        super().__init__()
        self._embeddings = ProjectedData(data, HEAD_FITS[0][0])
        self._optimum: Optimum | None = None
        self._fits = iter(enumerate(HEAD_FITS, start=first_epoch))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Fit the head."""
        del logs
        for number, (shrinkage, penalty) in self._fits:
            if shrinkage != self._embeddings.shrinkage:
                self._embeddings, self._optimum = replace(self._embeddings, shrinkage=shrinkage), None
            self._optimum = fit_head(self._embeddings, penalty, self._optimum)
            if number == epoch:
                break
        assert self._optimum is not None  # epochs are ascending
        self.model.get_layer(LOGITS).set_weights(head_weights(self._embeddings, self._optimum))


def fit_head(embeddings: ProjectedData, penalty: float, start: Optimum | None = None) -> Optimum:
    """Return the parameters of least mean cross-entropy plus half the penalty times the squared kernel.

    Every view of every slice counts with the weight of its species. The solver is L-BFGS (Liu and Nocedal 1989).

    Args:
        embeddings: Projected embeddings, labels and weights.
        penalty: Penalty of the kernel.
        start: Parameters to start from; zeros if None.

    Returns:
        Kernel for projected embeddings, row by row, and bias, float64 [R * K + K].
    """
    classes = embeddings.data.classes
    size = embeddings.projection.shape[1] * classes + classes
    optimum = minimize(
        _loss_and_gradient,
        np.zeros(size) if start is None else start,
        args=(embeddings, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "ftol": _TOLERANCE},
    )
    return np.asarray(optimum.x)


def head_weights(embeddings: ProjectedData, optimum: Optimum) -> tuple[Matrix, Matrix]:
    """Return kernel float32 [D, K] and bias [K] of the head for embeddings as the network computes them."""
    classes, (mean, divisor) = embeddings.data.classes, embeddings.data.moments
    kernel = embeddings.projection @ optimum[:-classes].reshape(-1, classes) / divisor[:, None]
    bias = optimum[-classes:] - mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)


def _loss_and_gradient(
    parameters: NDArray[np.float64], embeddings: ProjectedData, penalty: float
) -> tuple[float, NDArray[np.float64]]:
    data = embeddings.data
    kernel = parameters[: -data.classes].reshape(-1, data.classes).astype(np.float32)
    bias = parameters[-data.classes :].astype(np.float32)
    loss = 0.5 * penalty * float(np.square(kernel).sum())
    kernel_gradient, bias_gradient = penalty * kernel, np.zeros(data.classes, np.float32)
    for rows, labels in embeddings.blocks():
        logarithms = log_softmax(rows @ kernel + bias, axis=1)
        targets = _targets(labels, data)
        weights = data.class_weights[labels, None] / np.float32(data.total_weight)
        loss -= float((weights * targets * logarithms).sum())
        residuals = weights * (np.exp(logarithms) - targets)
        kernel_gradient += rows.T @ residuals
        bias_gradient += residuals.sum(axis=0)
    return loss, np.concatenate([kernel_gradient.ravel(), bias_gradient]).astype(np.float64)


def _targets(labels: NDArray[np.int64], data: HeadData) -> Matrix:
    """Return one-hot labels with smoothing, float32 [N, K]."""
    share = np.float32(data.label_smoothing)
    return np.eye(data.classes, dtype=np.float32)[labels] * (1 - share) + share / data.classes


def _scales(parts: Sequence[int]) -> Matrix:
    """Return the factor of each standardized feature that gives all parts the same total variance, float32 [D]."""
    share = sum(parts) / len(parts)
    return np.repeat([np.sqrt(share / size) for size in parts], parts).astype(np.float32)
