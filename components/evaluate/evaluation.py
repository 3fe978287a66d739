"""Evaluates trained backbones: chooses on validation, measures on test, judges, and leaves the served model."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components import __version__
from components.evaluate.ensemble import Ensemble, choose_ensemble
from components.evaluate.gate import judge
from components.evaluate.predictions import (
    Member,
    Prediction,
    SplitSlices,
    chosen_slices,
    load_member,
    predict_split,
    slices_of,
    spread_rows,
)
from components.evaluate.profile import MOST_SLICES, reference_profile
from components.evaluate.provenance import code_digest, library_versions
from components.evaluate.report.findings import Findings, Provenance, collect_findings
from components.evaluate.report.pictures import Pictures, take_pictures
from components.evaluate.served_model import ServedModel, export_served_model, write_warmup_requests
from components.shared import metrics
from components.shared.contracts import Example, GateVerdict, ModelCard, SlicesInfo
from components.shared.errors import ContractError
from components.shared.files import folder_made_whole
from components.shared.metrics import Scores
from components.shared.reference import write_reference
from components.shared.slices import read_info

CARD_FILE, REFERENCE_FILE, EXAMPLES_FOLDER = "model.json", "reference.parquet", "examples"
MOST_EXAMPLES, WARMUP_SLICES = 32, 4


@dataclass(frozen=True)
class HeldOut:
    """A split that training did not see, with what every member says about it.

    Attributes:
        slices: ids, labels, specimens.
        predictions: by backbone.
    """

    slices: SplitSlices
    predictions: Mapping[str, Prediction]

    @property
    def logits(self) -> dict[str, NDArray[np.float32]]:
        """Logits float32 [N, K] by backbone."""
        return {name: prediction.logits for name, prediction in self.predictions.items()}

    def embedding(self, ensemble: Ensemble, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The embedding of the ensemble for some slices, float32 [len(rows), D]."""
        return np.concatenate([self.predictions[name].embedding[rows] for name in ensemble.weights], axis=1)


@dataclass(frozen=True)
class Evaluation:
    """The verdict and all that it rests on.

    Attributes:
        card: of the served model.
        confusion: int64 [K, K], rows are true species.
        recall: by species.
        findings: what the report tells.
        pictures: what the report shows.
        network_seconds: that the networks worked.
    """

    card: ModelCard
    confusion: NDArray[np.int64]
    recall: Mapping[str, float]
    findings: Findings
    pictures: Pictures
    network_seconds: float


def evaluate_models(
    slices: Path, models: Sequence[Path], name: str, threshold: float, seed: int, folder: Path
) -> Evaluation:
    """Evaluates trained backbones and writes the served model as version 1 of `folder`.

    Args:
        slices: a data set of segmented slices.
        models: folders of trained backbones.
        name: of the served model.
        threshold: slice accuracy that the gate requires.
        seed: of the resampling of specimens.
        folder: becomes the artifact.

    Raises:
        ContractError: a model does not fit the data set, or two have the same backbone.
    """
    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(model, info) for model in models)}
    if len(members) < len(models) or not members:
        raise ContractError(f"{len(models)} models of {len(members)} backbones", "one model for each backbone")
    with tempfile.TemporaryDirectory() as scratch:
        return _evaluate(slices, info, members, name, threshold, seed, folder, Path(scratch))


def _evaluate(
    slices: Path,
    info: SlicesInfo,
    members: Mapping[str, Member],
    name: str,
    threshold: float,
    seed: int,
    folder: Path,
    scratch: Path,
) -> Evaluation:
    held_out = {split: _predict(slices, info, split, members, scratch) for split in ("validation", "test")}
    ensemble = choose_ensemble(held_out["validation"].logits, held_out["validation"].slices.labels)
    test = held_out["test"]
    scores = ensemble.scores(test.logits)
    recall = dict(zip(info.classes, metrics.recall_by_species(scores, test.slices.labels).tolist(), strict=True))
    verdict = judge(metrics.accuracy(scores, test.slices.labels), recall, threshold)
    confusion = metrics.confusion(scores, test.slices.labels)
    with folder_made_whole(folder) as unfinished:
        version = unfinished / "1"
        served = ServedModel(members, ensemble, info.classes, info.channels)
        export_served_model(served, version)
        examples = _write_examples(version, slices, info, test, scores)
        known = [(version / example.file).read_bytes() for example in examples[:WARMUP_SLICES]]
        write_warmup_requests(version, name, served, known)
        _write_reference_profile(version, slices, info, held_out, ensemble)
        card = _model_card(info, name, ensemble, test, scores, verdict, examples, seed, served)
        card.write(version / CARD_FILE)
    findings = collect_findings(card, _provenance(info, members, seed), test.slices, scores, test.predictions)
    explained = members[max(ensemble.weights, key=lambda name: ensemble.weights[name])]
    pictures = take_pictures(slices, explained, findings.mistakes, findings.pairs)
    seconds = sum(said.seconds for split in held_out.values() for said in split.predictions.values())
    return Evaluation(card, confusion, recall, findings, pictures, seconds)


def _provenance(info: SlicesInfo, members: Mapping[str, Member], seed: int) -> Provenance:
    return Provenance(
        info=info,
        members=tuple(member.card for member in members.values()),
        digests={name: member.digest for name, member in members.items()},
        code=code_digest(),
        seed=seed,
    )


def _predict(folder: Path, info: SlicesInfo, split: str, members: Mapping[str, Member], scratch: Path) -> HeldOut:
    slices = slices_of(folder, info, split)
    if not len(slices.ids):
        raise ContractError(f"the data set has no {split} slices", "some of every split", "Add specimens.")
    return HeldOut(slices, predict_split(folder, split, members, len(slices.ids), scratch))


def _model_card(
    info: SlicesInfo,
    name: str,
    ensemble: Ensemble,
    test: HeldOut,
    scores: Scores,
    verdict: GateVerdict,
    examples: Sequence[Example],
    seed: int,
    served: ServedModel,
) -> ModelCard:
    return ModelCard(
        name=name,
        classes=info.classes,
        channels=info.channels,
        segmented="segment" in info.preprocessing,
        members=tuple(ensemble.weights),
        rule=ensemble.rule,
        metrics=_ensemble_metrics(scores, test.slices, seed),
        backbones={
            backbone: _backbone_metrics(said.logits, test.slices) for backbone, said in test.predictions.items()
        },
        thresholds={"unknown_below": ensemble.unknown_below, "temperature": ensemble.temperature},
        gate=verdict,
        data_hash=info.sources_hash,
        code_version=__version__,
        reference=REFERENCE_FILE,
        signatures=served.signatures(),
        versions=library_versions(),
        examples=tuple(examples),
    )


def _ensemble_metrics(scores: Scores, slices: SplitSlices, seed: int) -> dict[str, Any]:
    return {
        "accuracy": metrics.accuracy(scores, slices.labels),
        "accuracy_interval": list(metrics.accuracy_interval(scores, slices.labels, slices.specimens, seed)),
        "macro_f1": metrics.macro_f1(scores, slices.labels),
        "top3": metrics.top_accuracy(scores, slices.labels),
        "auc": metrics.area_under_curve(scores, slices.labels),
        "ece": metrics.calibration_error(scores, slices.labels),
        "specimen_accuracy": metrics.specimen_accuracy(scores, slices.labels, slices.specimens),
        "unknown_auroc": None,
    }


def _backbone_metrics(logits: NDArray[np.float32], slices: SplitSlices) -> dict[str, float]:
    return {
        "accuracy": metrics.accuracy(logits, slices.labels),
        "top3": metrics.top_accuracy(logits, slices.labels),
        "macro_f1": metrics.macro_f1(logits, slices.labels),
    }


def _write_examples(version: Path, folder: Path, info: SlicesInfo, test: HeldOut, scores: Scores) -> list[Example]:
    """Keeps the first test slice of each species, with the ensemble's answer."""
    (version / EXAMPLES_FOLDER).mkdir()
    labels, first = np.unique(test.slices.labels, return_index=True)
    label_of = dict(zip(first[:MOST_EXAMPLES].tolist(), labels.tolist(), strict=False))
    examples = {}
    for row, encoded in chosen_slices(folder, "test", label_of):
        label = label_of[row]
        file = f"{EXAMPLES_FOLDER}/{label:03d}.png"
        (version / file).write_bytes(encoded)
        answer = tuple(float(score) for score in scores[row])
        examples[label] = Example(id=test.slices.ids[row], file=file, species=info.classes[label], scores=answer)
    return [examples[label] for label in sorted(examples)]


def _write_reference_profile(
    version: Path, folder: Path, info: SlicesInfo, held_out: Mapping[str, HeldOut], ensemble: Ensemble
) -> None:
    rows = _reference_rows(held_out)
    profile = reference_profile(
        _encoded_slices(folder, rows),
        np.concatenate([held_out[split].slices.specimens[chosen] for split, chosen in rows.items()]),
        np.concatenate([ensemble.scores(held_out[split].logits)[chosen] for split, chosen in rows.items()]),
        np.concatenate([held_out[split].embedding(ensemble, chosen) for split, chosen in rows.items()]),
        info.classes,
        info.channels,
        ensemble.unknown_below,
    )
    write_reference(version / REFERENCE_FILE, profile)


def _reference_rows(held_out: Mapping[str, HeldOut]) -> dict[str, NDArray[np.int64]]:
    """Chooses the slices of the reference profile, rows by split."""
    rows = spread_rows(np.concatenate([split.slices.specimens for split in held_out.values()]), MOST_SLICES)
    chosen, begin = {}, 0
    for name, split in held_out.items():
        end = begin + len(split.slices.ids)
        chosen[name] = rows[(rows >= begin) & (rows < end)] - begin
        begin = end
    return chosen


def _encoded_slices(folder: Path, rows: Mapping[str, NDArray[np.int64]]) -> Iterator[bytes]:
    for split, chosen in rows.items():
        for _, encoded in chosen_slices(folder, split, chosen.tolist()):
            yield encoded
