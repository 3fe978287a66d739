"""The head of a probe as a penalized logistic regression, which is fitted to its optimum.

With few specimens, many heads classify all training slices correctly. Gradient steps stop at one that depends on step
size and number of epochs; the penalized one is unique. For the penalty, features are standardized, and where an
embedding concatenates several vectors, each of them gets the same total variance. The scales are then absorbed into the
weights of the head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from components.train.probe.table import FeatureTable
from components.train.recipe import PENALTIES

LOGITS = "logits"
_ITERATIONS = 150
_SMALLEST_DEVIATION = 1e-3
_BLOCK = 4096
Matrix = NDArray[np.float32]


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


class PenalizedHead(keras.callbacks.Callback):
    """Set the head at the start of each epoch to the optimum for the epoch's penalty.

    Args:
        data: Training data of the head.
        first_epoch: Number of the epoch with the first penalty, counted from 0 over all phases.
    """

    def __init__(self, data: HeadData, first_epoch: int) -> None:
        super().__init__()
        self._data, self._first_epoch = data, first_epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Fit the head."""
        del logs
        weights = fit_head(self._data, PENALTIES[epoch - self._first_epoch])
        self.model.get_layer(LOGITS).set_weights(weights)


def fit_head(data: HeadData, penalty: float) -> tuple[Matrix, Matrix]:
    """Return kernel [D, K] and bias [K] of the least mean cross-entropy plus half the penalty times the squared kernel.

    Every view of every slice counts; a species' slices together have its weight. L-BFGS (Liu and Nocedal 1989) starts
    from zero for each penalty, so that the result does not depend on the penalties before.

    Args:
        data: Embeddings, labels and weights.
        penalty: Penalty of the kernel for standardized embeddings.
    """
    mean, deviation = _moments(data.table)
    deviation = deviation / _scales(data.parts)
    size = len(mean) * data.classes
    optimum = minimize(
        _loss_and_gradient,
        np.zeros(size + data.classes),
        args=(data, mean, deviation, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS},
    )
    kernel = optimum.x[:size].reshape(len(mean), data.classes) / deviation[:, None]
    bias = optimum.x[size:] - mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)


def _loss_and_gradient(
    parameters: NDArray[np.float64], data: HeadData, mean: Matrix, deviation: Matrix, penalty: float
) -> tuple[float, NDArray[np.float64]]:
    size = len(mean) * data.classes
    kernel = parameters[:size].reshape(len(mean), data.classes).astype(np.float32)
    bias = parameters[size:].astype(np.float32)
    total = float(data.class_weights[data.table.labels].sum()) * data.table.rows.shape[1]
    loss = 0.5 * penalty * float(np.square(kernel).sum())
    kernel_gradient, bias_gradient = penalty * kernel, np.zeros(data.classes, np.float32)
    for embedding, labels in _blocks(data.table):
        rows = (embedding - mean) / deviation
        logarithms = log_softmax(rows @ kernel + bias, axis=1)
        targets = _targets(labels, data)
        weights = data.class_weights[labels, None] / total
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


def _moments(table: FeatureTable) -> tuple[Matrix, Matrix]:
    """Return mean and standard deviation of each feature over all views of all slices, float32 [D]."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for embedding, _ in _blocks(table):
        count += len(embedding)
        total = total + embedding.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(embedding, dtype=np.float64).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0)) + _SMALLEST_DEVIATION
    return mean.astype(np.float32), deviation.astype(np.float32)


def _blocks(table: FeatureTable) -> Iterator[tuple[Matrix, NDArray[np.int64]]]:
    """Yield the embeddings float32 [N, D] and the labels of all views in blocks, from memory or a file."""
    views = table.rows.shape[1]
    for begin in range(0, table.rows.size, _BLOCK):
        numbers = np.arange(begin, min(begin + _BLOCK, table.rows.size))
        embedding, labels = table.batch(numbers // views, numbers % views)
        yield embedding.astype(np.float32), labels
