"""The ensemble rules and the scores of unknown species in TensorFlow, for the served model.

Each function does what its namesake in `rules` and `unknown` does with NumPy, in float32.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from components.evaluate.ensemble.rules import ConfidenceSwitch, Rule
from components.evaluate.open_set import UnknownScore

_TINY = 1e-12


def combined_shares(rule: Rule, logits: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Combines members' logits [N, K] as the rule says: float32 [N, K] that sum to one."""
    if isinstance(rule, ConfidenceSwitch):
        return _switched(rule, tf.nn.softmax(logits[rule.main]), tf.nn.softmax(logits[rule.patch]))
    return tf.add_n([weight * tf.nn.softmax(logits[name]) for name, weight in rule.weights.items()])


def _switched(rule: ConfidenceSwitch, main: tf.Tensor, patch: tf.Tensor) -> tf.Tensor:
    weak = tf.reduce_any(tf.argmax(main, axis=1)[:, None] == tf.constant(rule.weak, tf.int64), axis=1)
    surer = tf.reduce_max(patch, axis=1) > tf.reduce_max(main, axis=1)
    return tf.where((weak & surer)[:, None], patch, main)


class ServedUnknown(tf.Module):
    """The score of unknown species; what it knows of the training slices is kept as variables.

    Args:
        score: what evaluation chose.
    """

    def __init__(self, score: UnknownScore) -> None:
        super().__init__(name="unknown")
        self._parts, self.threshold = score.parts, score.threshold
        names = {part.name for part in score.parts}
        around = score.surroundings
        self.banks = [tf.Variable(s.bank, trainable=False) for s in around if "solitude" in names]
        self.whitenings = [tf.Variable(s.whitening, trainable=False) for s in around if "distance" in names]
        self.centres = [tf.Variable(s.centres, trainable=False) for s in around if "distance" in names]

    def flags(self, shares: tf.Tensor, logits: Sequence[tf.Tensor], embeddings: Sequence[tf.Tensor]) -> tf.Tensor:
        """Says which slices are unknown, bool [N]; one with a number that is not finite always is.

        Args:
            shares: combined votes before the temperature, float32 [N, K].
            logits: float32 [N, K] of each member.
            embeddings: float32 [N, D] of each member.
        """
        finite = [tf.reduce_all(tf.math.is_finite(values), axis=1) for values in (*logits, *embeddings)]
        within = self.score(shares, logits, embeddings) <= self.threshold  # False for NaN
        return ~(within & tf.reduce_all(finite, axis=0))

    def score(self, shares: tf.Tensor, logits: Sequence[tf.Tensor], embeddings: Sequence[tf.Tensor]) -> tf.Tensor:
        """Scores slices, float32 [N].

        Args:
            shares: combined votes before the temperature, float32 [N, K].
            logits: float32 [N, K] of each member.
            embeddings: float32 [N, D] of each member.
        """
        units = [embedding / tf.maximum(tf.norm(embedding, axis=1, keepdims=True), _TINY) for embedding in embeddings]
        scores: dict[str, Callable[[], tf.Tensor]] = {
            "doubt": lambda: 1 - tf.reduce_max(shares, axis=1),
            "entropy": lambda: -tf.reduce_sum(tf.math.xlogy(shares, shares), axis=1),
            "energy": lambda: -_mean([tf.reduce_logsumexp(values, axis=1) for values in logits]),
            "solitude": lambda: self._solitude(units),
            "distance": lambda: self._distance(units),
        }
        return tf.add_n([(scores[part.name]() - part.middle) / part.span for part in self._parts])

    def _solitude(self, units: Sequence[tf.Tensor]) -> tf.Tensor:
        nearest = [
            tf.reduce_max(tf.matmul(unit, bank, transpose_b=True), axis=1)
            for unit, bank in zip(units, self.banks, strict=True)
        ]
        return 1 - _mean(nearest)

    def _distance(self, units: Sequence[tf.Tensor]) -> tf.Tensor:
        places = zip(units, self.whitenings, self.centres, strict=True)
        return _mean([_nearest_square(tf.matmul(unit, whitening), centres) for unit, whitening, centres in places])


def _mean(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(list(tensors)) / len(tensors)


def _nearest_square(points: tf.Tensor, centres: tf.Tensor) -> tf.Tensor:
    """Returns the smallest squared distance of points [N, D] to centres [K, D]."""
    squares = tf.reduce_sum(points**2, axis=1, keepdims=True) + tf.reduce_sum(centres**2, axis=1)
    return tf.reduce_min(squares - 2 * tf.matmul(points, centres, transpose_b=True), axis=1)
