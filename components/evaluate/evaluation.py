"""Evaluates trained backbones: chooses on validation, measures on test, judges, and leaves the served model."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components import __version__
from components.evaluate.assessment import UnknownFindings, specimens_of
from components.evaluate.champion import ask_champion
from components.evaluate.choosing import Choice, HeldOut, Source, choose_on_validation
from components.evaluate.gate import Evidence, GateConfig, judge
from components.evaluate.measuring import Measured, measure_on_test
from components.evaluate.predictions import Member, chosen_slices, load_member, spread_rows
from components.evaluate.profile import MOST_SLICES, reference_profile
from components.evaluate.provenance import code_digest, library_versions
from components.evaluate.report.findings import (
    MATERIAL,
    Findings,
    Provenance,
    collect_findings,
)
from components.evaluate.report.pictures import Pictures, take_pictures
from components.evaluate.report.unknown_curve import UnknownCurve, unknown_curve
from components.evaluate.served_model import ServedModel, export_served_model, write_warmup_requests
from components.shared.contracts import Example, GateVerdict, ModelCard, SlicesInfo
from components.shared.descriptors import descriptor_names
from components.shared.errors import BadConfigError, ContractError
from components.shared.files import folder_made_whole
from components.shared.keys import SIGNING_KEY, key_path
from components.shared.metrics import Scores
from components.shared.reference import write_reference
from components.shared.signatures import sign_folder
from components.shared.slices import index_columns, read_index, read_info

CARD_FILE, REFERENCE_FILE, EXAMPLES_FOLDER = "model.json", "reference.parquet", "examples"
MOST_EXAMPLES, WARMUP_SLICES = 32, 4
DEFAULT_GATE = GateConfig()


@dataclass(frozen=True)
class Evaluation:
    """The verdict and all that it rests on.

    Attributes:
        card: of the served model.
        choice: the ensemble and the other rules that were tried on validation.
        measured: what the test slices say.
        findings: what the report tells.
        pictures: what the report shows.
        network_seconds: that the networks worked.
    """

    card: ModelCard
    choice: Choice
    measured: Measured
    findings: Findings
    pictures: Pictures
    network_seconds: float


def evaluate_models(
    slices: Path,
    models: Sequence[Path],
    name: str,
    threshold: float,
    seed: int,
    folder: Path,
    gate: GateConfig = DEFAULT_GATE,
    material: str = MATERIAL,
) -> Evaluation:
    """Evaluates trained backbones and writes the served model as version 1 of `folder`.

    Args:
        slices: a data set of segmented slices.
        models: folders of trained backbones.
        name: of the served model.
        threshold: slice accuracy that the gate requires.
        seed: of the permutations of the paired tests.
        folder: becomes the artifact.
        gate: what else the gate requires.
        material: what the specimens are, as the report calls them.

    Raises:
        BadConfigError: the threshold is no share, or the key to sign the served model with cannot be used.
        ContractError: a model does not fit the data set or answers nonsense, or two have the same backbone.
    """
    if not 0 <= threshold <= 1:
        raise BadConfigError(f"threshold {threshold:g}", "a number from 0 to 1", "Mend the threshold parameter.")
    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(model, info) for model in models)}
    if len(members) < len(models) or not members:
        raise ContractError(f"{len(models)} models of {len(members)} backbones", "one model for each backbone")
    with tempfile.TemporaryDirectory() as scratch:
        source = Source(slices, info, members, Path(scratch))
        return _evaluate(source, name, threshold, seed, folder, gate, material)


def _evaluate(
    source: Source, name: str, threshold: float, seed: int, folder: Path, gate: GateConfig, material: str
) -> Evaluation:
    validation = source.predict("validation")
    choice = choose_on_validation(source, validation)
    test = source.predict("test")
    measured = measure_on_test(source, choice, test, threshold, seed)
    verdict = judge(_evidence(source, test, measured, gate, seed), threshold, gate)
    with folder_made_whole(folder) as unfinished:
        version = unfinished / "1"
        served = ServedModel(source.members, choice.ensemble, choice.unknown, source.info.classes, source.info.channels)
        export_served_model(served, version)
        examples = _write_examples(version, source.folder, source.info, test, measured.scores)
        known = [(version / example.file).read_bytes() for example in examples[:WARMUP_SLICES]]
        write_warmup_requests(version, name, served, known)
        _write_reference_profile(version, source, {"validation": validation, "test": test}, choice)
        card = _model_card(source.info, name, choice, measured, verdict, examples, served)
        card.write(version / CARD_FILE)
        sign_folder(version, key_path(SIGNING_KEY))
    findings = collect_findings(
        card,
        _provenance(source.info, source.members, seed, material),
        test.slices,
        measured.scores,
        test.predictions,
        _curve(measured.unknown),
        measured.comparisons,
        choice.candidates,
    )
    explained = source.members[choice.ensemble.rule.leader]
    pictures = take_pictures(source.folder, explained, findings.mistakes, findings.pairs)
    seconds = choice.seconds + sum(said.seconds for split in (validation, test) for said in split.predictions.values())
    return Evaluation(card, choice, measured, findings, pictures, seconds)


def _curve(unknown: UnknownFindings) -> UnknownCurve | None:
    return unknown_curve(unknown.known, unknown.unseen, unknown.threshold) if len(unknown.unseen) else None


def _provenance(info: SlicesInfo, members: Mapping[str, Member], seed: int, material: str) -> Provenance:
    return Provenance(
        info=info,
        members=tuple(member.card for member in members.values()),
        digests={name: member.digest for name, member in members.items()},
        code=code_digest(),
        seed=seed,
        material=material,
    )


def _evidence(source: Source, test: HeldOut, measured: Measured, gate: GateConfig, seed: int) -> Evidence:
    classes, right = source.info.classes, measured.scores.argmax(axis=1) == test.slices.labels
    asked = gate.champion and ask_champion(gate.champion, source.folder, classes, test.slices, right, seed)
    return Evidence(
        species=classes,
        accuracy=measured.metrics["accuracy"],
        lower_bound=measured.metrics["accuracy_interval"][0],
        recall=measured.recall,
        test_specimens=specimens_of(test.slices, classes),
        champion=asked or None,
    )


def _model_card(
    info: SlicesInfo,
    name: str,
    choice: Choice,
    measured: Measured,
    verdict: GateVerdict,
    examples: Sequence[Example],
    served: ServedModel,
) -> ModelCard:
    ensemble = choice.ensemble
    return ModelCard(
        name=name,
        classes=info.classes,
        channels=info.channels,
        segmented=info.preprocessing.get("segment", {}).get("method") == "specimen",
        image_size=info.image_size,
        members=ensemble.members,
        rule=ensemble.rule.words(info.classes),
        metrics=measured.metrics,
        backbones=measured.backbones,
        thresholds={"unknown_above": choice.unknown.threshold, "temperature": ensemble.temperature},
        gate=verdict,
        data_hash=info.sources_hash,
        code_version=__version__,
        reference=REFERENCE_FILE,
        signatures=served.signatures(),
        versions=library_versions(),
        examples=tuple(examples),
    )


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


def _write_reference_profile(version: Path, source: Source, held_out: Mapping[str, HeldOut], choice: Choice) -> None:
    rows, ensemble = _reference_rows(held_out), choice.ensemble
    profile = reference_profile(
        _described(source, rows),
        np.concatenate([held_out[split].slices.specimens[chosen] for split, chosen in rows.items()]),
        np.concatenate([ensemble.scores(held_out[split].logits)[chosen] for split, chosen in rows.items()]),
        np.concatenate([held_out[split].embedding(ensemble, chosen) for split, chosen in rows.items()]),
        source.info.classes,
        np.concatenate([choice.calls_unknown(held_out[split], chosen) for split, chosen in rows.items()]),
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


def _described(source: Source, rows: Mapping[str, NDArray[np.int64]]) -> pd.DataFrame:
    names = descriptor_names(source.info.channels)
    missing = set(names) - set(index_columns(source.folder))
    if missing:
        lacking = ", ".join(sorted(missing))
        raise ContractError(f"{source.folder}: the index has no {lacking}", "descriptors", "Segment the slices again.")
    described = [read_index(source.folder, split, names).iloc[chosen] for split, chosen in rows.items()]
    return pd.concat(described, ignore_index=True)
