"""Cross-validation: every specimen is tested once, by models that were neither trained nor selected on it."""

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from components.evaluate.answers import HeldOut, MeasuredAnswers
from components.evaluate.ensemble.rules import SoftVote
from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.folds import cross_validate, read_fold_index
from components.evaluate.measurement import ModelMeasurement, OpenSetResult, measure
from components.evaluate.model_selection import EvaluationSource, PredictedSplit
from components.evaluate.predictions import Member, MemberPrediction, read_split
from components.shared.contracts import BackboneCard, ModelCard, SlicesInfo
from components.shared.errors import ContractError
from components.shared.files.matrix import FileMatrix
from components.shared.images.decoding import encode_png
from components.shared.slices import NO_FOLD, UNSEEN, Slice, SlicesWriter, iterate_split, read_info

OLD_CARD = next((Path(__file__).parents[1] / "fixtures" / "served-model-0.1.0").rglob("model.json"))
CLASSES = ("a", "b", "c")
FOLDS, SPECIMENS, SLICES = 3, 6, 2
BACKBONES = ("x", "y")
SERVED = Ensemble(SoftVote({"x": 1.0}), 1.0)


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set of three species with folds, an unseen species and a specimen that every fold trains on."""
    folder = tmp_path_factory.mktemp("slices")
    with SlicesWriter(folder, CLASSES) as writer:
        for number in range(SPECIMENS):
            for species in (*CLASSES, "unseen"):
                for place in range(SLICES):
                    writer.add(one_slice(species, number, place))
        writer.finish(
            SlicesInfo(
                classes=CLASSES,
                image_size=4,
                channels=1,
                counts=writer.counts(),
                seed=0,
                preprocessing={},
                sources_hash="d" * 64,
                folds=FOLDS,
            )
        )
    return folder


def one_slice(species: str, number: int, place: int) -> Slice:
    """Return a slice whose only value is its number; specimen a-0 is never tested."""
    known = species in CLASSES
    return Slice(
        id=f"{species}-{number}-{place}",
        species=species,
        specimen=f"{species}-{number}",
        split=("validation" if number == 1 else "train") if known else UNSEEN,
        plane="",
        foreground_ratio=1.0,
        spacing_mm=0.0,
        descriptors={},
        png=encode_png(np.full((4, 4), 10 * number + place, np.uint8)),
        fold=NO_FOLD if not known or (species, number) == ("a", 0) else number % FOLDS,
    )


def write_artifacts(slices: Path, folder: Path, seed: int = 0) -> dict[str, Member]:
    """Write seeded logits of each fold as the train step does, and return the backbones."""
    rng, info = np.random.default_rng(seed), read_info(slices)
    known = pd.read_parquet(slices / "index.parquet").query("species in @CLASSES")
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(len(CLASSES))])
    members = {}
    for backbone in BACKBONES:
        (folder / backbone / "folds").mkdir(parents=True)
        for number in range(FOLDS):
            rows = known.sample(frac=1, random_state=number)
            test, other = rows[rows["fold"] == number], rows[rows["fold"] != number]
            validation = other[other["specimen"].str.endswith(("3", "4"))].sort_values("id")
            arrays = {}
            for split, part in (("validation", validation), ("test", test)):
                truth = np.eye(len(CLASSES))[[CLASSES.index(species) for species in part["species"]]]
                arrays[f"{split}_ids"] = part["id"].to_numpy(dtype=str)
                arrays[f"{split}_logits"] = (truth + rng.normal(size=truth.shape)).astype(np.float32)
            np.savez(folder / backbone / "folds" / f"{number}.npz", **arrays)
        card = BackboneCard(
            backbone=backbone,
            parameters=1,
            image_size=4,
            channels=1,
            classes=CLASSES,
            recipe={},
            history=(),
            metrics={},
            data_hash=info.sources_hash,
            seconds=1.0,
            folds=FOLDS,
        )
        members[backbone] = Member(card, network, folder=folder / backbone)
    return members


def source_of(slices: Path, folder: Path, seed: int = 0) -> EvaluationSource:
    return EvaluationSource(slices, read_info(slices), write_artifacts(slices, folder, seed), folder)


def held_out_of(source: EvaluationSource) -> HeldOut:
    """Return the validation slices with uniform scores, which took each network one second."""
    validation = read_split(source.folder, source.info, "validation")
    scores = np.full((len(validation.ids), len(CLASSES)), 1 / len(CLASSES), np.float32)
    prediction = MemberPrediction(scores, FileMatrix(Path("none"), (len(scores), 1)), 1.0)
    return HeldOut("validation", PredictedSplit(validation, dict.fromkeys(BACKBONES, prediction)), scores)


def answers_of(source: EvaluationSource) -> MeasuredAnswers:
    return cross_validate(source, held_out_of(source), SERVED)


def measure_folds(source: EvaluationSource) -> ModelMeasurement:
    open_set = OpenSetResult("knn", 0.5, np.array([0.1]))
    return measure(answers_of(source), CLASSES, open_set, 0.9, 0, validation_specimens=3)


def test_every_specimen_with_a_fold_is_tested_once(slices: Path, tmp_path: Path) -> None:
    answers = answers_of(source_of(slices, tmp_path))
    ids = [id_ for split in ("train", "validation") for id_, _, _ in iterate_split(slices, split)]
    assert answers.slices.ids.tolist() == [id_ for id_ in ids if not id_.startswith("a-0-")]
    assert [ids[record] for record in answers.records] == answers.slices.ids.tolist()
    assert sorted(np.concatenate([fold.rows for fold in answers.folds])) == list(range(len(answers.scores)))
    assert answers.milliseconds == dict.fromkeys((*BACKBONES, "ensemble"), pytest.approx(1000 / 6))


def test_the_verdict_counts_the_specimens_that_no_fold_tests(slices: Path, tmp_path: Path) -> None:
    folds = measure_folds(source_of(slices, tmp_path)).score.folds
    assert folds is not None
    assert "(rare species, near-copies with contradictory species): 1; the served model" in folds.describe(7)
    assert "outside the folds" not in folds.model_copy(update={"untested_specimens": 0}).describe(7)


def test_the_images_of_tested_slices_are_found_in_every_split(slices: Path, tmp_path: Path) -> None:
    answers = answers_of(source_of(slices, tmp_path))
    png = {id_: png for split in ("train", "validation") for id_, _, png in iterate_split(slices, split)}
    rows = [0, 7, len(answers.scores) - 1]
    assert list(answers.iterate_images(slices, rows)) == [(row, png[answers.slices.ids[row]]) for row in rows]


def test_the_figures_are_those_of_scikit_learn_on_the_joined_predictions(slices: Path, tmp_path: Path) -> None:
    source = source_of(slices, tmp_path)
    measurement = measure_folds(source)
    logits = {name: {} for name in BACKBONES}
    for name in BACKBONES:
        for number in range(FOLDS):
            with np.load(tmp_path / name / "folds" / f"{number}.npz") as arrays:
                logits[name].update(zip(arrays["test_ids"].tolist(), arrays["test_logits"], strict=True))
    truths = [CLASSES.index(id_[0]) for id_ in logits["x"]]
    for name in BACKBONES:
        answers = [int(np.argmax(logits[name][id_])) for id_ in logits["x"]]
        score = measurement.backbones[name]
        assert score.accuracy == pytest.approx(accuracy_score(truths, answers))
        assert score.macro_f1 == pytest.approx(f1_score(truths, answers, average="macro"))
    score, rows = measurement.score, {id_: row for row, id_ in enumerate(measurement.slices.ids.tolist())}
    predictions = [int(measurement.scores[rows[id_]].argmax()) for id_ in logits["x"]]
    assert score.accuracy == pytest.approx(accuracy_score(truths, predictions))
    assert score.macro_f1 == pytest.approx(f1_score(truths, predictions, average="macro"))
    assert measurement.confusion.tolist() == confusion_matrix(truths, predictions).tolist()
    assert score.specimens == SPECIMENS * len(CLASSES) - 1
    assert score.folds is not None
    assert (score.folds.count, score.folds.accuracy, score.folds.interval) == (
        FOLDS,
        score.accuracy,
        score.accuracy_interval,
    )
    sizes = [len(fold.rows) for fold in measurement.answers.folds]
    assert np.average(score.folds.accuracy_by_fold, weights=sizes) == pytest.approx(score.accuracy)


def test_test_logits_do_not_change_the_selection_of_their_fold(slices: Path, tmp_path: Path) -> None:
    before = answers_of(source_of(slices, tmp_path / "one"))
    source = source_of(slices, tmp_path / "two")
    for name in BACKBONES:
        for number in range(FOLDS):
            change_array(source.members[name].folder / "folds" / f"{number}.npz", "test_logits", lambda array: -array)
    after = answers_of(source)
    assert [fold.ensemble for fold in after.folds] == [fold.ensemble for fold in before.folds]
    assert not np.array_equal(after.scores, before.scores)


def test_validation_logits_change_the_selection_of_their_fold_only(slices: Path, tmp_path: Path) -> None:
    before = answers_of(source_of(slices, tmp_path / "one"))
    source = source_of(slices, tmp_path / "two")
    for name in BACKBONES:
        change_array(source.members[name].folder / "folds" / "1.npz", "validation_logits", lambda array: 3 * array)
    after = answers_of(source)
    same = [first.ensemble == second.ensemble for first, second in zip(before.folds, after.folds, strict=True)]
    assert same == [True, False, True]


def change_array(file: Path, name: str, change: object) -> None:
    """Replace one array of a fold by what a function returns for it."""
    with np.load(file) as arrays:
        contents = dict(arrays)
    contents[name] = change(contents[name])
    np.savez(file, **contents)


def renamed_first(ids: np.ndarray, name: str) -> np.ndarray:
    return np.array([name, *ids[1:].tolist()])


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("test_ids", lambda ids: renamed_first(ids, "z-9-9"), "has the test id 'z-9-9': expected the slices of fold 1"),
        ("test_ids", lambda ids: renamed_first(ids, ids[1]), "has the test id '.-.-.' twice"),
        ("test_ids", lambda ids: renamed_first(ids, "b-0-0"), "the test id 'b-0-0'"),
        (
            "validation_ids",
            lambda ids: renamed_first(ids, "b-1-0"),
            "the validation id 'b-1-0': expected slices that are not",
        ),
        ("validation_ids", lambda ids: renamed_first(ids, "unseen-0-0"), "the validation id 'unseen-0-0'"),
        ("test_logits", lambda logits: logits.astype(np.float64), "test logits float64"),
        ("test_logits", lambda logits: logits[:, :2], r"test logits float32 \(12, 2\)"),
        ("test_logits", lambda logits: logits * np.nan, "test logits float32 that are not finite"),
        ("test_ids", lambda ids: np.arange(len(ids)), "test ids of int64"),
        ("test_ids", lambda ids: ids.astype(object), "cannot be read"),
    ],
)
def test_a_fold_of_other_slices_is_rejected_by_name(
    name: str, change: object, text: str, slices: Path, tmp_path: Path
) -> None:
    source = source_of(slices, tmp_path)
    change_array(tmp_path / "y" / "folds" / "1.npz", name, change)
    with pytest.raises(ContractError, match=text):
        answers_of(source)


def test_a_fold_without_a_slice_names_the_slice(slices: Path, tmp_path: Path) -> None:
    source, file = source_of(slices, tmp_path), tmp_path / "x" / "folds" / "2.npz"
    with np.load(file) as arrays:
        lacking = arrays["test_ids"][0]
    change_array(file, "test_ids", lambda ids: ids[1:])
    change_array(file, "test_logits", lambda logits: logits[1:])
    with pytest.raises(ContractError, match=f"lacks the test id '{lacking}'"):
        answers_of(source)


def test_backbones_with_other_validation_slices_are_rejected(slices: Path, tmp_path: Path) -> None:
    source, file = source_of(slices, tmp_path), tmp_path / "y" / "folds" / "0.npz"
    change_array(file, "validation_ids", lambda ids: ids[1:])
    change_array(file, "validation_logits", lambda logits: logits[1:])
    with pytest.raises(ContractError, match="y has other validation slices than x"):
        answers_of(source)


def test_a_backbone_without_folds_is_rejected(slices: Path, tmp_path: Path) -> None:
    source = source_of(slices, tmp_path)
    (tmp_path / "x" / "folds" / "1.npz").unlink()
    with pytest.raises(ContractError, match=r"1\.npz does not exist"):
        answers_of(source)
    members = {
        name: replace(member, card=member.card.model_copy(update={"folds": 0}))
        for name, member in source.members.items()
    }
    with pytest.raises(ContractError, match="x was trained with 0 folds"):
        answers_of(replace(source, members=members))


def compressed(content: bytes) -> bytes:
    """Return an archive with the same arrays, compressed."""
    archive = io.BytesIO()
    with np.load(io.BytesIO(content)) as arrays:
        np.savez_compressed(archive, **arrays)
    return archive.getvalue()


def huge_archive() -> bytes:
    """Return an archive whose first array announces a shape of terabytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<U8", "fortran_order": False, "shape": (10**12,)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("validation_ids.npy", header.getvalue() + b"x" * 64)
    return archive.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:200] + b"x" + content[201:],
        lambda content: content[:0],
        lambda content: content[:0] + huge_archive(),
        compressed,
    ],
)
def test_a_damaged_file_of_a_fold_is_rejected(change: object, slices: Path, tmp_path: Path) -> None:
    source, file = source_of(slices, tmp_path), tmp_path / "x" / "folds" / "0.npz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ContractError, match=r"0\.npz cannot be read"):
        answers_of(source)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda index: index.drop(columns="fold"), "the index has no column fold"),
        (lambda index: index.assign(fold=index["fold"].replace(2, 1)), "lacks the test id"),
        (lambda index: index.assign(fold=index["fold"].replace(2, 3)), "the index has slices of fold 3"),
        (lambda index: index.assign(fold=np.arange(len(index)) % FOLDS), "is in the folds"),
    ],
)
def test_an_index_without_whole_specimens_in_folds_is_rejected(
    change: object, text: str, slices: Path, tmp_path: Path
) -> None:
    source = source_of(slices, tmp_path)
    folder = Path(shutil.copytree(slices, tmp_path / "slices"))
    change(pd.read_parquet(folder / "index.parquet")).to_parquet(folder / "index.parquet")
    with pytest.raises(ContractError, match=text):
        answers_of(replace(source, folder=folder))


def test_a_fold_may_be_empty_if_its_slices_were_dropped(slices: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(slices, tmp_path / "slices"))
    pd.read_parquet(folder / "index.parquet").query("fold != 2").to_parquet(folder / "index.parquet")
    assert set(read_fold_index(EvaluationSource(folder, read_info(folder), {}, tmp_path)).fold) == {NO_FOLD, 0, 1}


def test_a_species_of_one_fold_is_not_tested(slices: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(slices, tmp_path / "slices"))
    index = pd.read_parquet(folder / "index.parquet")
    index.loc[index["species"] == "c", "fold"] = np.int8(1)
    index.to_parquet(folder / "index.parquet")
    index = read_fold_index(EvaluationSource(folder, read_info(folder), {}, tmp_path))
    assert (index.fold[index.slices.labels == CLASSES.index("c")] == NO_FOLD).all()
    assert (index.fold[index.slices.labels == CLASSES.index("b")] != NO_FOLD).all()


def test_a_card_without_folds_is_read_as_that_of_a_test_split() -> None:
    card = ModelCard.read(OLD_CARD)
    assert (card.held_out_split, card.metrics.folds) == ("test", None)
    assert {score.accuracy_interval for score in card.backbones.values()} == {None}
