"""The ensemble rules and the open-set scores in TensorFlow, for the served model.

Each function computes in float32 the same as its counterpart with NumPy in `ensemble.rules` and `open_set.scores`.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from components.evaluate.ensemble.rules import ConfidenceSwitch, Rule
from components.evaluate.open_set import SMALLEST_NORM, LayerBank, OpenSetScore


def combined_probabilities(rule: Rule, logits: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Combine the members' logits [N, K] by a rule: float32 [N, K] that sum to one."""
    if isinstance(rule, ConfidenceSwitch):
        return _confidence_switch(rule, tf.nn.softmax(logits[rule.main]), tf.nn.softmax(logits[rule.patch]))
    return tf.add_n([weight * tf.nn.softmax(logits[name]) for name, weight in rule.weights.items()])


def _confidence_switch(rule: ConfidenceSwitch, main: tf.Tensor, patch: tf.Tensor) -> tf.Tensor:
    weak = tf.reduce_any(tf.argmax(main, axis=1)[:, None] == tf.constant(rule.weak, tf.int64), axis=1)
    less_confident = tf.reduce_max(patch, axis=1) > tf.reduce_max(main, axis=1)
    return tf.where((weak & less_confident)[:, None], patch, main)


class ServedOpenSetScore(tf.Module):
    """The open-set score in the served graph; the arrays of the feature banks that it needs are variables.

    Args:
        score: Score and threshold from model selection.
    """

    def __init__(self, score: OpenSetScore) -> None:
        super().__init__(name="unknown")
        self._terms, self.threshold = score.terms, score.threshold
        names = {term.name for term in score.terms}
        banks = score.banks
        self.banks = [tf.Variable(bank.bank, trainable=False) for bank in banks if "knn" in names]
        self.whitenings = [
            tf.Variable(bank.whitening_matrix, trainable=False) for bank in banks if "mahalanobis" in names
        ]
        self.centres = [tf.Variable(bank.centres, trainable=False) for bank in banks if "mahalanobis" in names]
        self.layers = [[ServedLayerBank(layer) for layer in bank.layers] for bank in banks if "layer_knn" in names]

    def flags(self, score: tf.Tensor) -> tf.Tensor:
        """Return which slices with these finite scores float32 [N] are flagged as unknown, bool [N]."""
        return score > self.threshold

    def finite_score(
        self,
        probabilities: tf.Tensor,
        logits: Sequence[tf.Tensor],
        embeddings: Sequence[tf.Tensor],
        layers: Sequence[Sequence[tf.Tensor]],
    ) -> tf.Tensor:
        """Return the score of each slice, float32 [N]; the largest float32 for a slice with a non-finite number.

        JSON has no other numbers, and such a slice is above every threshold.

        Args:
            probabilities: Combined probabilities before the temperature, float32 [N, K].
            logits: Logits of each member, float32 [N, K].
            embeddings: Embeddings of each member, float32 [N, D].
            layers: Statistics of the last layers of each member, float32 [N, 2 * C]; empty for a member without them.
        """
        score = self.score(probabilities, logits, embeddings, layers)
        finite = [tf.reduce_all(tf.math.is_finite(values), axis=1) for values in (*logits, *embeddings)]
        return tf.where(tf.math.is_finite(score) & tf.reduce_all(finite, axis=0), score, tf.float32.max)

    def score(
        self,
        probabilities: tf.Tensor,
        logits: Sequence[tf.Tensor],
        embeddings: Sequence[tf.Tensor],
        layers: Sequence[Sequence[tf.Tensor]],
    ) -> tf.Tensor:
        """Return the score of each slice, float32 [N].

        Args:
            probabilities: Combined probabilities before the temperature, float32 [N, K].
            logits: Logits of each member, float32 [N, K].
            embeddings: Embeddings of each member, float32 [N, D].
            layers: Statistics of the last layers of each member, float32 [N, 2 * C]; empty for a member without them.
        """
        units = [
            embedding / tf.maximum(tf.norm(embedding, axis=1, keepdims=True), SMALLEST_NORM) for embedding in embeddings
        ]
        scores: dict[str, Callable[[], tf.Tensor]] = {
            "max_softmax": lambda: 1 - tf.reduce_max(probabilities, axis=1),
            "entropy": lambda: -tf.reduce_sum(tf.math.xlogy(probabilities, probabilities), axis=1),
            "energy": lambda: -_mean([tf.reduce_logsumexp(values, axis=1) for values in logits]),
            "knn": lambda: self._knn(units),
            "mahalanobis": lambda: self._mahalanobis(units),
            "layer_knn": lambda: self._layer_knn(embeddings, layers),
        }
        return tf.add_n([(scores[term.name]() - term.median) / term.span for term in self._terms])

    def _knn(self, units: Sequence[tf.Tensor]) -> tf.Tensor:
        nearest = [
            tf.reduce_max(tf.matmul(unit, bank, transpose_b=True), axis=1)
            for unit, bank in zip(units, self.banks, strict=True)
        ]
        return 1 - _mean(nearest)

    def _mahalanobis(self, units: Sequence[tf.Tensor]) -> tf.Tensor:
        members = zip(units, self.whitenings, self.centres, strict=True)
        return _mean([_nearest_square(tf.matmul(unit, matrix), centres) for unit, matrix, centres in members])

    def _layer_knn(self, embeddings: Sequence[tf.Tensor], layers: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
        distances = [
            bank.distances(values)
            for embedding, statistics, banks in zip(embeddings, layers, self.layers, strict=True)
            for values, bank in zip(statistics or [embedding], banks, strict=True)
        ]
        return _mean(distances)


class ServedLayerBank(tf.Module):
    """The bank of one layer in the served graph.

    Args:
        bank: Bank from model selection.
    """

    def __init__(self, bank: LayerBank) -> None:
        super().__init__(name="layer")
        arrays = (bank.mean, bank.whitening_matrix, bank.bank)
        self.mean, self.whitening_matrix, self.bank = (tf.Variable(array, trainable=False) for array in arrays)
        self.spacing = None if bank.spacing is None else tf.Variable(bank.spacing, trainable=False)

    def distances(self, statistics: tf.Tensor) -> tf.Tensor:
        """Return the distances to the nearest training slice of statistics float32 [N, D], float32 [N]."""
        points = tf.matmul(statistics - self.mean, self.whitening_matrix)
        nearest = _nearest_square(points, self.bank, self.spacing)
        return tf.sqrt(tf.maximum(nearest, 0) / self.mean.shape[0])


def _mean(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(list(tensors)) / len(tensors)


def _nearest_square(points: tf.Tensor, centres: tf.Tensor, spacing: tf.Tensor | None = None) -> tf.Tensor:
    """Return the smallest squared distance of points [N, D] to centres [K, D], in units of the spacing [K]."""
    norms = tf.reduce_sum(points**2, axis=1, keepdims=True) + tf.reduce_sum(centres**2, axis=1)
    squares = norms - 2 * tf.matmul(points, centres, transpose_b=True)
    return tf.reduce_min(squares if spacing is None else squares / spacing**2, axis=1)
