"""The id of a served model: the same for the same model, another for every change of what it answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.evaluate.ensemble.rules import ConfidenceSwitch, SoftVote
from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.export.model_id import model_id
from components.evaluate.export.saved_model import ServedGraph
from components.evaluate.model_selection import EvaluationSource, select_on_validation
from components.evaluate.open_set import FeatureBank, LayerBank, OpenSetScore, ScaledScore
from components.evaluate.predictions import Member, load_member
from components.shared.contracts import BackboneCard
from components.shared.slices import read_info
from components.train.recipe import Recipe
from components.train.training import train_backbone
from tests.model_cards import specimen_threshold

CLASSES, EDGE, WIDTH = ("alveolina", "fallotia", "lockhartia"), 8, 4
SPECIMEN_THRESHOLD = specimen_threshold(level=0.9, lowest=-1.0, highest=3.0, slices=(1, 2), thresholds=(0.9, 0.8))
FLOAT32_MAX = float(np.finfo(np.float32).max)


def member(name: str, seed: int) -> Member:
    inputs = keras.Input((EDGE, EDGE, 1))
    embedding = keras.layers.Dense(WIDTH, name="embedding")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, [keras.layers.Dense(len(CLASSES))(embedding), embedding])
    random = np.random.default_rng(seed)
    network.set_weights([random.normal(size=weight.shape).astype(np.float32) for weight in network.weights])
    card = BackboneCard(
        backbone=name,
        parameters=network.count_params(),
        image_size=EDGE,
        channels=1,
        classes=CLASSES,
        recipe={},
        history=(),
        metrics={},
        data_hash="0" * 64,
        seconds=0,
    )
    return Member(card, network)


def bank(seed: int) -> FeatureBank:
    random = np.random.default_rng(seed)
    shapes = (
        (5, WIDTH),
        (WIDTH, WIDTH),
        (len(CLASSES), WIDTH),
        (2 * WIDTH,),
        (2 * WIDTH, 2 * WIDTH),
        (5, 2 * WIDTH),
        (5,),
    )
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    return FeatureBank(*arrays[:3], (LayerBank(*arrays[3:]),))


def served_model() -> dict[str, Any]:
    """Return the arguments of `model_id` for a new copy of one model."""
    terms = (ScaledScore("knn", 0.1, 0.5), ScaledScore("entropy", 0.2, 0.3))
    return {
        "members": {"a": member("a", 1), "b": member("b", 2)},
        "ensemble": Ensemble(SoftVote({"a": 0.3, "b": 0.7}), 1.5),
        "open_set": OpenSetScore(terms, 0.9, (bank(1), bank(2)), {}),
        "classes": CLASSES,
        "channels": 1,
        "specimen_open_set": SPECIMEN_THRESHOLD,
    }


def with_weight(model: dict[str, Any], number: int, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    weights = model["members"]["b"].network.get_weights()
    weights[number] = change(weights[number])
    model["members"]["b"].network.set_weights(weights)
    return model


def next_number(values: np.ndarray) -> np.ndarray:
    """Return the values with the first one replaced by the next larger float32."""
    changed = values.copy()
    changed.flat[0] = np.nextafter(changed.flat[0], np.float32(np.inf))
    return changed


def with_open_set(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return model | {"open_set": replace(model["open_set"], **changes)}


def with_layer(model: dict[str, Any], field: str) -> dict[str, Any]:
    first, second = model["open_set"].banks
    (layer,) = second.layers
    changed = replace(layer, **{field: next_number(getattr(layer, field))})
    return with_open_set(model, banks=(first, replace(second, layers=(changed,))))


def with_specimens(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return model | {"specimen_open_set": SPECIMEN_THRESHOLD.model_copy(update=changes)}


def with_rule(model: dict[str, Any], rule: Any, temperature: float = 1.5) -> dict[str, Any]:
    return model | {"ensemble": Ensemble(rule, temperature)}


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a kernel": lambda model: with_weight(model, 0, next_number),
    "a bias": lambda model: with_weight(model, 3, next_number),
    "the order of a bias": lambda model: with_weight(model, 3, np.flip),
    "order of species": lambda model: model | {"classes": CLASSES[::-1]},
    "channels": lambda model: model | {"channels": 3},
    "weights of the vote": lambda model: with_rule(model, SoftVote({"a": 0.3 + 2**-54, "b": 0.7})),
    "order of members": lambda model: with_rule(model, SoftVote({"b": 0.7, "a": 0.3})),
    "kind of rule": lambda model: with_rule(model, ConfidenceSwitch("a", "b", (1,))),
    "temperature": lambda model: with_rule(model, SoftVote({"a": 0.3, "b": 0.7}), float(np.nextafter(1.5, 2))),
    "threshold": lambda model: with_open_set(model, threshold=float(np.nextafter(0.9, 1))),
    "terms": lambda model: with_open_set(model, terms=model["open_set"].terms[:1]),
    "scale of a term": lambda model: with_open_set(model, terms=(ScaledScore("knn", 0.1, 0.6),)),
    "banks": lambda model: with_open_set(model, banks=(bank(1), bank(3))),
    **{
        f"{field} of a layer": lambda model, field=field: with_layer(model, field)
        for field in ("mean", "whitening_matrix", "bank", "spacing")
    },
    "aggregation for specimens": lambda model: with_specimens(model, aggregation="median"),
    "threshold for specimens": lambda model: with_specimens(model, thresholds=(0.9, float(np.nextafter(0.8, 1)))),
    "no thresholds for specimens": lambda model: model | {"specimen_open_set": None},
}


def test_the_same_model_has_the_same_id_in_every_export() -> None:
    first, second = model_id(**served_model()), model_id(**served_model())  # with other counters in layers' names
    assert first == second
    assert (len(first), set(first) <= set("0123456789abcdef")) == (64, True)


def test_a_backbone_without_a_vote_does_not_change_the_id() -> None:
    model = served_model()
    without_vote = model["members"] | {"c": member("c", 3)}
    assert model_id(**model | {"members": without_vote}) == model_id(**model)


def test_the_comparison_of_scores_does_not_change_the_id() -> None:
    model = served_model()
    assert model_id(**with_open_set(model, separation={"knn": 0.9})) == model_id(**model)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_model_gives_another_id(change: str) -> None:
    assert model_id(**CHANGES[change](served_model())) != model_id(**served_model())


def test_two_changes_of_a_model_give_different_ids() -> None:
    ids = [model_id(**change(served_model())) for change in CHANGES.values()]
    assert len(set(ids)) == len(CHANGES)


def test_a_slice_with_nan_has_the_largest_unknown_score() -> None:
    model = with_weight(served_model(), 3, lambda bias: bias * np.float32(np.nan))
    answer = ServedGraph(**model).crops(tf.zeros([2, EDGE, EDGE, 1], tf.uint8))
    assert np.isnan(answer["scores"]).all()
    assert answer["unknown_score"].numpy().tolist() == [FLOAT32_MAX] * 2
    assert answer["unknown"].numpy().tolist() == [True] * 2


@pytest.mark.slow
def test_selecting_twice_gives_the_same_id(
    segmented_slices: Path, trained_backbones: tuple[Path, ...], tmp_path: Path
) -> None:
    info = read_info(segmented_slices)
    ids = set()
    for number in range(2):
        members = {folder.name: load_member(folder, info) for folder in trained_backbones}
        (tmp_path / str(number)).mkdir()
        selection = select_on_validation(EvaluationSource(segmented_slices, info, members, tmp_path / str(number)))
        ids.add(model_id(members, selection.ensemble, selection.open_set, info.classes, info.channels))
    assert len(ids) == 1


@pytest.mark.slow
def test_the_same_training_gives_the_same_id(segmented_slices: Path, tmp_path: Path) -> None:
    info, ids = read_info(segmented_slices), []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number) / "cnn_small"
        folder.parent.mkdir()
        train_backbone(segmented_slices, "cnn_small", Recipe(epochs=2, batch_size=16), seed, folder)
        members = {"cnn_small": load_member(folder, info)}
        selection = select_on_validation(EvaluationSource(segmented_slices, info, members, tmp_path / str(number)))
        ids.append(model_id(members, selection.ensemble, selection.open_set, info.classes, info.channels))
    assert ids[0] == ids[1] != ids[2]
