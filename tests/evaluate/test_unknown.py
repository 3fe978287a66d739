"""Unknown species: the score, its choice without unknown data, and the same in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from components.evaluate.ensemble.calibration import Ensemble
from components.evaluate.ensemble.rules import ConfidenceSwitch, SoftVote
from components.evaluate.export.tf_rules import ServedUnknown, combined_shares
from components.evaluate.open_set import FLAGGED_SHARE, SCORES, Part, UnknownScore, answers_of, fit_unknown
from components.evaluate.predictions import Prediction, swap_halves

CLASSES, WIDTH = 5, 16
RULES = (SoftVote({"a": 0.3, "b": 0.7}), ConfidenceSwitch("a", "b", (1, 3)))


def made_up(slices: int, seed: int, strangeness: float = 0.0) -> tuple[dict[str, Prediction], np.ndarray]:
    """What two networks say: embeddings around a centre for each species, strange ones pushed out of their span."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=slices)
    said = {}
    for number, name in enumerate(("a", "b")):
        centres = np.random.default_rng(number).normal(size=(CLASSES, WIDTH)) * np.repeat((2.0, 0.0), WIDTH // 2)
        embedding = centres[labels] + 0.4 * rng.normal(size=(slices, WIDTH))
        embedding += strangeness * np.repeat((0.0, 1.0), WIDTH // 2)
        logits = embedding @ centres.T
        said[name] = Prediction(logits.astype(np.float32), embedding.astype(np.float32))
    return said, labels


@pytest.fixture(scope="module")
def score() -> UnknownScore:
    training, labels = made_up(400, 0)
    return fit_unknown(Ensemble(RULES[0], 1.0), training, labels, made_up(600, 1)[0], made_up(200, 2, 1.0)[0])


def test_the_score_that_finds_the_swapped_slices_is_taken(score: UnknownScore) -> None:
    assert max(score.separation, key=lambda name: score.separation[name]) == score.words
    assert score.separation[score.words] > 0.95
    assert {part.name for part in score.parts} & {"solitude", "distance"}  # only the embedding shows what was made up
    assert min(score.separation["doubt"], score.separation["entropy"]) < 0.9


def test_about_a_twentieth_of_known_slices_is_called_unknown_and_most_strange_ones(score: UnknownScore) -> None:
    ensemble = Ensemble(RULES[0], 1.0)
    known, strange = score.of(ensemble, made_up(2000, 3)[0]), score.of(ensemble, made_up(500, 4, 1.0)[0])
    assert (score.of(ensemble, made_up(600, 1)[0]) > score.threshold).mean() == pytest.approx(FLAGGED_SHARE, abs=0.005)
    assert (known > score.threshold).mean() == pytest.approx(FLAGGED_SHARE, abs=0.03)
    assert (strange > score.threshold).mean() > 0.9


@pytest.mark.parametrize("rule", RULES, ids=["vote", "switch"])
def test_tensorflow_combines_votes_as_numpy_does(rule: SoftVote | ConfidenceSwitch) -> None:
    logits = {name: said.logits for name, said in made_up(300, 5, 0.5)[0].items()}
    shares = combined_shares(rule, {name: tf.constant(values) for name, values in logits.items()})
    np.testing.assert_allclose(shares, rule.shares(logits), atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_tensorflow_scores_slices_as_numpy_does(name: str, score: UnknownScore) -> None:
    single = UnknownScore((Part(name, 0.1, 0.5),), 0.0, score.surroundings, {})
    (answers,) = answers_of(Ensemble(RULES[0], 1.0), made_up(300, 6, 0.5)[0])
    found = ServedUnknown(single).score(
        tf.constant(answers.shares, tf.float32),
        [tf.constant(values) for values in answers.logits],
        [tf.constant(values) for values in answers.embeddings],
    )
    np.testing.assert_allclose(found, single.of_answers(answers), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("broken", ["logits", "embeddings"])
@pytest.mark.parametrize("name", SCORES)
def test_a_slice_whose_numbers_are_nan_is_unknown_by_every_score(name: str, broken: str, score: UnknownScore) -> None:
    served = ServedUnknown(UnknownScore((Part(name, 0.0, 1.0),), 1e9, score.surroundings, {}))
    said = {
        kind: [np.random.default_rng(1).normal(size=(3, width)).astype(np.float32) for _ in range(2)]
        for kind, width in (("logits", CLASSES), ("embeddings", WIDTH))
    }
    said[broken][1][0, 0] = np.nan
    logits, embeddings = ([tf.constant(values) for values in said[kind]] for kind in ("logits", "embeddings"))
    shares = combined_shares(SoftVote({"a": 0.5, "b": 0.5}), {"a": logits[0], "b": logits[1]})
    assert served.flags(shares, logits, embeddings).numpy().tolist() == [True, False, False]


def test_what_the_served_model_does_not_need_it_does_not_carry(score: UnknownScore) -> None:
    served = ServedUnknown(UnknownScore((Part("solitude", 0.0, 1.0),), 0.0, score.surroundings, {}))
    assert (len(served.banks), len(served.whitenings), len(served.centres)) == (2, 0, 0)


def test_a_blank_embedding_is_scored_and_not_divided_by_nothing(score: UnknownScore) -> None:
    blank = {
        name: Prediction(np.zeros((3, CLASSES), np.float32), np.zeros((3, WIDTH), np.float32)) for name in ("a", "b")
    }
    assert np.isfinite(score.of(Ensemble(RULES[0], 1.0), blank)).all()


def test_halves_are_swapped_top_with_bottom_and_left_with_right() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    swapped = swap_halves({"4x1": tf.constant(np.concatenate([image, image]))})["4x1"].numpy()[..., 0]
    assert swapped[0].tolist() == [[8, 9, 10, 11], [12, 13, 14, 15], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert swapped[1, 0].tolist() == [2, 3, 0, 1]
