"""Training with folds: the logits of each fold, nothing of its test specimens in training, and resumption."""

from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.contracts import BackboneCard
from components.shared.contracts.fold_logits import FoldLogits, fold_file
from components.shared.errors import ContractError
from components.shared.slices import (
    SPLITS,
    Slice,
    SlicesWriter,
    iterate_slices,
    read_index,
    read_info,
)
from components.train.folds.training import fold_seed, train_with_folds
from components.train.recipe import Recipe
from components.train.training import train_backbone
from tests.train.interruptions import PowerCutError

RECIPE = Recipe(epochs=2, batch_size=16, image_size=16, ema_momentum=0.9)


@pytest.fixture(scope="module")
def trained_model(folded_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_with_folds(folded_slices, "cnn_small", RECIPE, 0, folder / "model")
    assert [path.name for path in folder.iterdir()] == ["model"]
    return folder / "model"


def read_folds(model: Path) -> list[FoldLogits]:
    return [FoldLogits.read(fold_file(model, fold), classes=3) for fold in range(3)]


def assert_same_logits(one: FoldLogits, two: FoldLogits, names: tuple[str, ...] = ("validation", "test")) -> None:
    for name in names:
        assert getattr(one, f"{name}_ids").tolist() == getattr(two, f"{name}_ids").tolist()
        assert getattr(one, f"{name}_logits") == pytest.approx(getattr(two, f"{name}_logits"), abs=1e-4)


@pytest.mark.slow
def test_every_slice_is_tested_in_its_fold(folded_slices: Path, trained_model: Path) -> None:
    index = read_index(folded_slices)
    assert BackboneCard.read(trained_model / "model.json").folds == 3
    for fold, logits in enumerate(read_folds(trained_model)):
        assert set(logits.test_ids) == set(index.loc[index["fold"] == fold, "id"])
        assert not set(logits.test_ids) & set(logits.validation_ids)
    assert [len(logits.test_ids) for logits in read_folds(trained_model)] == [27, 27, 0]
    assert len(read_folds(trained_model)[2].validation_ids) == 0  # no model is trained if there is nothing to test


@pytest.mark.slow
def test_the_served_model_is_trained_as_without_folds(folded_slices: Path, trained_model: Path, tmp_path: Path) -> None:
    train_backbone(folded_slices, "cnn_small", RECIPE, 0, tmp_path / "model")
    one, two = (
        keras.saving.load_model(path / "model.keras", compile=False) for path in (trained_model, tmp_path / "model")
    )
    for weights, others in zip(one.get_weights(), two.get_weights(), strict=True):
        assert weights == pytest.approx(others, abs=1e-4)


@pytest.mark.slow
def test_the_tested_specimens_change_nothing_in_their_fold(
    folded_slices: Path, trained_model: Path, tmp_path: Path
) -> None:
    slices = change_a_fold(folded_slices, 1, tmp_path / "slices")
    train_with_folds(slices, "cnn_small", RECIPE, 0, tmp_path / "model")
    before, after = (read_folds(model) for model in (trained_model, tmp_path / "model"))
    assert_same_logits(before[1], after[1], ("validation",))
    assert np.abs(before[1].test_logits - after[1].test_logits).max() > 1e-2
    assert np.abs(before[0].validation_logits - after[0].validation_logits).max() > 1e-2


def change_a_fold(slices: Path, fold: int, folder: Path) -> Path:
    """Write the data set with other images and species of the slices that are tested in a fold."""
    info, folder_classes = read_info(slices), read_info(slices).classes
    folder.mkdir()
    columns = ("id", "species", "specimen", "split", "plane", "foreground_ratio", "spacing_mm", "fold")
    pngs = [png for row, png in iterate_slices(slices, SPLITS) if row["fold"] != fold]
    with SlicesWriter(folder, info.classes) as writer:
        for row, png in iterate_slices(slices, SPLITS):
            fields = {name: row[name] for name in columns}
            if row["fold"] == fold:
                label = folder_classes.index(row["species"])
                fields["species"], png = folder_classes[(label + 1) % len(folder_classes)], pngs.pop()
            writer.add(Slice(**fields, descriptors={}, png=png))
        writer.finish(info.model_copy(update={"counts": writer.counts()}))
    return folder


@pytest.mark.slow
def test_finished_models_are_not_trained_again(
    folded_slices: Path, trained_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original_write = FoldLogits.write
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(FoldLogits, "write", lambda logits, path: cut_power(original_write, logits, path))
        with pytest.raises(PowerCutError):
            train_with_folds(folded_slices, "cnn_small", RECIPE, 0, tmp_path / "model", tmp_path / "checkpoints")
    assert not (tmp_path / "model").exists()
    capsys.readouterr()
    train_with_folds(folded_slices, "cnn_small", RECIPE, 0, tmp_path / "model", tmp_path / "checkpoints")
    assert capsys.readouterr().out.count(" 2/2 epochs") == 1  # of the last fold
    for one, two in zip(read_folds(trained_model), read_folds(tmp_path / "model"), strict=True):
        assert_same_logits(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def cut_power(write: object, logits: FoldLogits, path: Path) -> None:
    """Write the logits of the first fold, and end the training at those of the next."""
    if path.name == "1.npz":
        raise PowerCutError
    assert callable(write)
    write(logits, path)


def test_the_seeds_of_the_folds_differ() -> None:
    assert len({fold_seed(seed, fold) for seed in (0, 1, 2**32 - 1) for fold in range(5)}) == 15


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"test_logits": np.zeros((2, 3))},
        {"test_logits": np.zeros((1, 3), np.float32)},
        {"test_logits": np.full((2, 3), np.nan, np.float32)},
        {"validation_ids": np.array(["a", "a"])},
        {"validation_ids": np.array([{}, {}], dtype=object)},
    ],
)
def test_damaged_logits_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    ids, logits = np.array(["a", "b"]), np.zeros((2, 3), np.float32)
    valid = {"validation_ids": ids, "validation_logits": logits, "test_ids": ids, "test_logits": logits}
    np.savez(tmp_path / "0.npz", **({**valid, **arrays} if arrays else {}))
    with pytest.raises(ContractError, match=r"0\.npz"):
        FoldLogits.read(tmp_path / "0.npz", classes=3)
