"""The head of a cached probe as a penalized logistic regression."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from components.shared.errors import BadConfigError
from components.train.probe.head import LOGITS, HeadData, PenalizedHead, ProjectedData, fit_head, head_weights
from components.train.probe.table import FeatureTable
from components.train.recipe import HEAD_FITS, PENALTIES, Recipe

CLASSES, SLICES, VIEWS, SIZE = 3, 40, 2, 6


def head_data(seed: int = 0, *, balanced: bool = False) -> HeadData:
    """Return embeddings of three overlapping species with different scales of the features."""
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, CLASSES, SLICES))
    centres = random.normal(size=(CLASSES, SIZE))
    embedding = centres[np.repeat(labels, VIEWS)] + random.normal(size=(SLICES * VIEWS, SIZE))
    embedding = (embedding * np.geomspace(0.1, 30, SIZE) + 5).astype(np.float16)
    rows = np.arange(SLICES * VIEWS).reshape(SLICES, VIEWS)
    counts = np.bincount(labels, minlength=CLASSES)
    weights = SLICES / (CLASSES * counts) if balanced else np.ones(CLASSES)
    return HeadData(FeatureTable(embedding, rows, labels, (SIZE,)), CLASSES, 0.0, weights.astype(np.float32), (SIZE,))


@pytest.mark.parametrize("balanced", [False, True])
def test_the_head_is_the_optimum_that_scikit_learn_finds(balanced: bool) -> None:
    data, penalty = head_data(balanced=balanced), 0.03
    embedding = data.table.matrix[:].astype(np.float64)
    labels = np.repeat(data.table.labels, VIEWS)
    scaled = (embedding - embedding.mean(axis=0)) / (embedding.std(axis=0) + 1e-3)
    weights = data.class_weights[labels].astype(np.float64)
    reference = LogisticRegression(C=1 / (penalty * weights.sum()), tol=1e-8, max_iter=5000)
    expectation = reference.fit(scaled, labels, sample_weight=weights).predict_proba(scaled)
    projected = ProjectedData(data, 1.0)
    kernel, bias = head_weights(projected, fit_head(projected, penalty))
    logits = embedding @ kernel + bias
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities / probabilities.sum(axis=1, keepdims=True), expectation, atol=2e-3)


def test_a_stronger_penalty_gives_less_certain_heads() -> None:
    data = ProjectedData(head_data(), 1.0)
    norms = [np.linalg.norm(fit_head(data, penalty)[:-CLASSES]) for penalty in (1.0, 0.1, 0.01)]
    assert norms == sorted(norms)


def test_the_start_of_the_solver_does_not_change_the_optimum() -> None:
    data = ProjectedData(head_data(), 1.0)
    from_zero, from_another = fit_head(data, 0.1), fit_head(data, 0.1, fit_head(data, 1.0))
    np.testing.assert_allclose(head_weights(data, from_zero)[0], head_weights(data, from_another)[0], atol=2e-3)


def test_parts_of_an_embedding_have_the_same_total_variance() -> None:
    data = replace(head_data(), parts=(2, SIZE - 2))
    variances = np.concatenate([rows for rows, _ in data.blocks()]).var(axis=0)
    assert variances[:2].sum() == pytest.approx(variances[2:].sum(), rel=0.05)


def test_the_solver_needs_cached_features() -> None:
    with pytest.raises(BadConfigError, match="probe_views"):
        Recipe.parse({"weights": "packaged", "frozen_epochs": 1, "probe_solver": "lbfgs"})


def test_the_solver_is_refused_for_heads_with_hidden_layers() -> None:
    keys = {"weights": "imagenet", "frozen_epochs": 1, "probe_views": 1, "probe_solver": "lbfgs"}
    with pytest.raises(BadConfigError, match="hidden layers"):
        Recipe.parse(keys, "efficientnetb0")
    assert Recipe.parse(keys, "mobilenet").probe_solver == "lbfgs"


def nuisance_data(shrinkage: float) -> tuple[ProjectedData, NDArray[np.float32], NDArray[np.int64]]:
    """Return training embeddings whose species differ less than their specimens do, and further ones with labels."""
    random = np.random.default_rng(3)
    centres, directions = random.normal(size=(30, 40)), random.normal(size=(5, 40))
    labels = np.repeat(np.arange(30), 24)
    specimens = random.normal(scale=3, size=(len(labels), 5)) @ directions
    embedding = (centres[labels] + specimens + random.normal(scale=0.7, size=(len(labels), 40))).astype(np.float16)
    is_training = np.tile(np.arange(24) < 4, 30)
    rows = np.arange(is_training.sum())[:, None]
    table = FeatureTable(embedding[is_training], rows, labels[is_training], (40,))
    data = HeadData(table, 30, 0.0, np.ones(30, np.float32), (40,))
    return ProjectedData(data, shrinkage), embedding[~is_training].astype(np.float32), labels[~is_training]


def test_whitening_discounts_directions_in_which_specimens_differ() -> None:
    accuracy = {}
    for shrinkage in (1.0, 0.2):
        data, embedding, labels = nuisance_data(shrinkage)
        kernel, bias = head_weights(data, fit_head(data, 0.3))
        accuracy[shrinkage] = np.mean((embedding @ kernel + bias).argmax(axis=1) == labels)
    assert accuracy[0.2] > accuracy[1.0] + 0.05


def test_whitened_embeddings_of_a_species_differ_equally() -> None:
    data, _, _ = nuisance_data(1e-5)
    embedding, labels = (np.concatenate(arrays) for arrays in zip(*data.blocks(), strict=True))
    residuals = embedding - np.stack([embedding[labels == label].mean(axis=0) for label in range(30)])[labels]
    variances = np.linalg.eigvalsh(residuals.T @ residuals)
    assert variances[0] == pytest.approx(variances[-1], rel=0.05)
    plain = np.concatenate([rows for rows, _ in nuisance_data(1.0)[0].blocks()])
    assert np.square(embedding).sum() == pytest.approx(np.square(plain).sum(), rel=1e-3)


@pytest.mark.parametrize("shrinkage", [1.0, 0.2])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_one_slice_of_each_species_and_constant_features_are_fitted(shrinkage: float, scale: float) -> None:
    embedding = (scale * np.random.default_rng(0).normal(size=(CLASSES, SIZE))).astype(np.float16)
    table = FeatureTable(embedding, np.arange(CLASSES)[:, None], np.arange(CLASSES), (SIZE,))
    data = ProjectedData(HeadData(table, CLASSES, 0.05, np.ones(CLASSES, np.float32), (SIZE,)), shrinkage)
    kernel, bias = head_weights(data, fit_head(data, 0.1))
    logits = embedding.astype(np.float32) @ kernel + bias
    assert np.isfinite(logits).all()
    assert not scale or logits.argmax(axis=1).tolist() == list(range(CLASSES))


def test_each_epoch_fits_the_head_with_its_shrinkage_and_penalty() -> None:
    data = head_data()
    head = keras.layers.Dense(CLASSES, name=LOGITS)
    model = keras.Sequential([keras.Input((SIZE,)), head])
    callback = PenalizedHead(data, first_epoch=0)
    callback.set_model(model)
    for epoch in (0, 1, len(PENALTIES) + 1):  # a resumed training begins with a later epoch
        callback.on_epoch_begin(epoch)
        shrinkage, penalty = HEAD_FITS[epoch]
        fitted = ProjectedData(data, shrinkage)
        expectation = head_weights(fitted, fit_head(fitted, penalty))
        np.testing.assert_allclose(head.get_weights()[0], expectation[0], rtol=0.05, atol=0.02)
