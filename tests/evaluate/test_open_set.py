"""The open-set score: its selection without unseen species, and the same score in TensorFlow."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from components.evaluate import open_set
from components.evaluate.ensemble.rules import ConfidenceSwitch, SoftVote
from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.export.tf_rules import ServedLayerBank, ServedOpenSetScore, combined_probabilities
from components.evaluate.open_set import (
    FLAGGED_SHARE,
    SCORES,
    LayerBank,
    OpenSetScore,
    ScaledScore,
    fit_open_set_score,
    iterate_outputs,
)
from components.evaluate.open_set.selection import area_standard_error
from components.evaluate.predictions import MemberPrediction, SplitSlices
from components.evaluate.synthetic_outliers import synthesize_outliers

CLASSES, WIDTH = 5, 16
RULES = (SoftVote({"a": 0.3, "b": 0.7}), ConfidenceSwitch("a", "b", (1, 3)))


def predictions_of_two(slices: int, seed: int, shift: float = 0.0) -> tuple[dict[str, MemberPrediction], np.ndarray]:
    """Return predictions of two networks: embeddings around a centre for each species, shifted out of their span."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=slices)
    predictions = {}
    for number, name in enumerate(("a", "b")):
        centres = np.random.default_rng(number).normal(size=(CLASSES, WIDTH)) * np.repeat((2.0, 0.0), WIDTH // 2)
        embedding = centres[labels] + 0.4 * rng.normal(size=(slices, WIDTH))
        embedding += shift * np.repeat((0.0, 1.0), WIDTH // 2)
        logits = embedding @ centres.T
        features = logits.astype(np.float32), embedding.astype(np.float32)
        layers = (np.tile(features[1], 2), features[1] ** 2) if name == "a" else ()
        predictions[name] = MemberPrediction(*features, layers=layers)
    return predictions, labels


def slices_of(labels: np.ndarray) -> SplitSlices:
    """Return slices with these labels, four of each specimen."""
    return SplitSlices(np.arange(len(labels)).astype(str), labels, (np.arange(len(labels)) // 4).astype(str))


def plain_and_varied_slices(seed: int) -> np.ndarray:
    """Return statistics of two species around (0, ...) and (6, ...), of which the second varies five times as much."""
    deviations = np.repeat((0.2, 1.0), 200)[:, None]
    centres = np.repeat((0.0, 6.0), 200)[:, None]
    return (centres + deviations * np.random.default_rng(seed).normal(size=(400, 6))).astype(np.float32)


def blank_rows(width: int) -> np.ndarray:
    return np.zeros((3, width), np.float32)


@pytest.fixture(scope="module")
def score() -> OpenSetScore:
    training, labels = predictions_of_two(400, 0)
    validation, outliers = predictions_of_two(600, 1)[0], predictions_of_two(200, 2, 1.0)[0]
    return fit_open_set_score(Ensemble(RULES[0], 1.0), training, slices_of(labels), validation, outliers)


def test_a_score_within_the_standard_error_of_the_best_is_selected(score: OpenSetScore) -> None:
    best = max(score.separation.values())
    is_close = best - score.separation["entropy + layer_knn"] <= area_standard_error(best, 200, 600)
    assert score.describe() == "entropy + layer_knn" if is_close else score.separation[score.describe()] == best
    assert score.separation[score.describe()] > 0.95
    assert {term.name for term in score.terms} & {"knn", "mahalanobis", "layer_knn"}  # only embeddings are shifted
    assert min(score.separation["max_softmax"], score.separation["entropy"]) < 0.9


def test_an_area_of_a_half_has_the_standard_error_of_the_rank_sum() -> None:
    assert area_standard_error(0.5, 50, 80) == pytest.approx(np.sqrt((50 + 80 + 1) / (12 * 50 * 80)), rel=1e-9)


def test_a_twentieth_of_known_and_most_unseen_slices_are_flagged(score: OpenSetScore) -> None:
    ensemble = Ensemble(RULES[0], 1.0)
    known = score.score_split(ensemble, predictions_of_two(2000, 3)[0])
    unseen = score.score_split(ensemble, predictions_of_two(500, 4, 1.0)[0])
    validation = score.score_split(ensemble, predictions_of_two(600, 1)[0])
    assert (validation > score.threshold).mean() == pytest.approx(FLAGGED_SHARE, abs=0.005)
    assert (known > score.threshold).mean() == pytest.approx(FLAGGED_SHARE, abs=0.03)
    assert (unseen > score.threshold).mean() > 0.9


def test_grey_views_are_known_to_members_trained_on_them() -> None:
    grey_views = getattr(open_set, "GreyViews", None)
    assert grey_views is not None
    training, labels = predictions_of_two(400, 0)
    validation, outliers = predictions_of_two(600, 1)[0], predictions_of_two(200, 2, 2.0)[0]
    views = grey_views(predictions_of_two(400, 0, 0.5)[0], predictions_of_two(600, 1, 0.5)[0])
    ensemble = Ensemble(RULES[0], 1.0)
    shares = []
    for known in (None, views):
        score = fit_open_set_score(ensemble, training, slices_of(labels), validation, outliers, known)
        samples = [predictions_of_two(2000, 3, shift)[0] for shift in (0.0, 0.5, 2.0)]
        shares.append([(score.score_split(ensemble, sample) > score.threshold).mean() for sample in samples])
    assert shares[0][1] > 0.3
    assert shares[1][1] < 0.15
    assert shares[1][0] < 0.1
    assert shares[1][2] > 0.9


@pytest.mark.parametrize("rule", RULES, ids=["vote", "switch"])
def test_tensorflow_combines_probabilities_as_numpy_does(rule: SoftVote | ConfidenceSwitch) -> None:
    logits = {name: prediction.logits for name, prediction in predictions_of_two(300, 5, 0.5)[0].items()}
    probabilities = combined_probabilities(rule, {name: tf.constant(values) for name, values in logits.items()})
    np.testing.assert_allclose(probabilities, rule.probabilities(logits), atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_tensorflow_scores_slices_as_numpy_does(name: str, score: OpenSetScore) -> None:
    single = OpenSetScore((ScaledScore(name, 0.1, 0.5),), 0.0, score.banks, {})
    (outputs,) = iterate_outputs(Ensemble(RULES[0], 1.0), predictions_of_two(300, 6, 0.5)[0])
    scores = ServedOpenSetScore(single).score(
        tf.constant(outputs.probabilities, tf.float32),
        [tf.constant(values) for values in outputs.logits],
        [tf.constant(values) for values in outputs.embeddings],
        [[tf.constant(values) for values in outputs.layers[0]], []],
    )
    np.testing.assert_allclose(scores, single.score(outputs), rtol=2e-4, atol=2e-4)


def test_tensorflow_divides_by_the_spacing_as_numpy_does() -> None:
    bank = LayerBank.fit_spaced(plain_and_varied_slices(0), np.repeat((0, 1), 200), np.arange(400).astype(str))
    statistics = plain_and_varied_slices(1)
    np.testing.assert_allclose(
        ServedLayerBank(bank).distances(tf.constant(statistics)), bank.distances(statistics), rtol=2e-3
    )


def test_plain_and_varied_species_are_equally_far_in_a_spaced_bank() -> None:
    labels, specimens = np.repeat((0, 1), 200), np.arange(400).astype(str)
    known = LayerBank.fit_spaced(plain_and_varied_slices(0), labels, specimens).distances(plain_and_varied_slices(1))
    plain, varied = np.median(known[:200]), np.median(known[200:])
    assert varied / plain == pytest.approx(1, abs=0.2)
    unscaled = LayerBank.fit(plain_and_varied_slices(0), labels).distances(plain_and_varied_slices(1))
    assert np.median(unscaled[200:]) / np.median(unscaled[:200]) > 3


def test_the_spacing_ignores_slices_of_the_same_specimen() -> None:
    statistics = np.repeat(plain_and_varied_slices(0)[::4], 4, axis=0)  # four copies of each slice
    labels, specimens = np.repeat((0, 1), 200), (np.arange(400) // 4).astype(str)
    spacing = LayerBank.fit_spaced(statistics, labels, specimens).spacing
    assert spacing is not None
    assert spacing.min() > 0.1 * np.median(spacing)


def test_a_species_of_one_specimen_has_the_spacing_of_the_others() -> None:
    random = np.random.default_rng(0)
    labels, specimens = np.repeat(np.arange(4), 40), np.repeat(np.arange(16), 10).astype(str)
    specimens[labels == 3] = "the only one"
    centres = 20 * np.eye(4, 12, dtype=np.float32)
    statistics = centres[labels] + random.normal(size=(160, 12)).astype(np.float32)
    spacing = LayerBank.fit_spaced(statistics, labels, specimens).spacing
    assert spacing is not None
    assert spacing[labels == 3] == pytest.approx(np.median(spacing[labels != 3]), rel=1e-6)


@pytest.mark.parametrize("specimens", [np.zeros(8).astype(str), np.arange(8).astype(str)], ids=["one", "equal"])
def test_a_bank_of_one_specimen_or_equal_slices_has_the_spacing_one(specimens: np.ndarray) -> None:
    bank = LayerBank.fit_spaced(np.ones((8, 3), np.float32), np.zeros(8, np.int64), specimens)
    assert bank.spacing is not None
    assert bank.spacing.tolist() == [1.0] * 8


def test_only_banks_of_members_that_need_it_have_a_spacing() -> None:
    training, labels = predictions_of_two(400, 0)
    training["a"] = replace(training["a"], needs_spacing=True)
    validation, outliers = predictions_of_two(600, 1)[0], predictions_of_two(200, 2, 1.0)[0]
    score = fit_open_set_score(Ensemble(RULES[0], 1.0), training, slices_of(labels), validation, outliers)
    assert [[layer.spacing is not None for layer in bank.layers] for bank in score.banks] == [[True, True], [False]]


@pytest.mark.parametrize("damage", ["logits", "embeddings"])
@pytest.mark.parametrize("name", SCORES)
def test_a_slice_with_nan_is_flagged_by_every_score(name: str, damage: str, score: OpenSetScore) -> None:
    module = ServedOpenSetScore(OpenSetScore((ScaledScore(name, 0.0, 1.0),), 1e9, score.banks, {}))
    arrays = {
        kind: [np.random.default_rng(1).normal(size=(3, width)).astype(np.float32) for _ in range(2)]
        for kind, width in (("logits", CLASSES), ("embeddings", WIDTH))
    }
    arrays[damage][1][0, 0] = np.nan
    logits, embeddings = ([tf.constant(values) for values in arrays[kind]] for kind in ("logits", "embeddings"))
    probabilities = combined_probabilities(SoftVote({"a": 0.5, "b": 0.5}), {"a": logits[0], "b": logits[1]})
    layers = [[tf.tile(embeddings[0], (1, 2)), embeddings[0] ** 2], []]
    scores = module.finite_score(probabilities, logits, embeddings, layers)
    assert module.flags(scores).numpy().tolist() == [True, False, False]
    assert scores.numpy()[0] == np.finfo(np.float32).max
    assert np.isfinite(scores).all()


def test_the_served_model_contains_only_the_arrays_it_needs(score: OpenSetScore) -> None:
    module = ServedOpenSetScore(OpenSetScore((ScaledScore("knn", 0.0, 1.0),), 0.0, score.banks, {}))
    assert (len(module.banks), len(module.whitenings), len(module.centres), len(module.layers)) == (2, 0, 0, 0)


def test_a_zero_embedding_has_a_finite_score(score: OpenSetScore) -> None:
    layers = {"a": (blank_rows(2 * WIDTH), blank_rows(WIDTH)), "b": ()}
    blank = {
        name: MemberPrediction(blank_rows(CLASSES), blank_rows(WIDTH), layers=statistics)
        for name, statistics in layers.items()
    }
    assert np.isfinite(score.score_split(Ensemble(RULES[0], 1.0), blank)).all()


def test_outliers_are_swapped_joined_averaged_and_the_brighter_of_two() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    crops, others = {"4x1": tf.constant(np.stack([image] * 8))}, {"4x1": tf.constant(np.stack([240 - image] * 8))}
    outliers = synthesize_outliers(crops, others)["4x1"].numpy()[..., 0]
    assert outliers[0].tolist() == [[8, 9, 10, 11], [12, 13, 14, 15], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert outliers[4, 0].tolist() == [2, 3, 0, 1]
    assert outliers[1, :, 0].tolist() == [0, 4, 232, 228]
    assert outliers[5, 0].tolist() == [0, 1, 238, 237]
    assert (outliers[2] == 120).all()
    assert outliers[7].tolist() == (240 - image[..., 0]).tolist()
