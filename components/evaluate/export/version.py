"""A version of the served model as a folder: SavedModel, card, known slices, warm-up, reference profile, digests."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components import __version__
from components.evaluate.answers import HeldOut
from components.evaluate.export.saved_model import ServedGraph, export_served_model, write_warmup_requests
from components.evaluate.measurement import ModelMeasurement
from components.evaluate.model_selection import EvaluationSource, PredictedSplit, Selection
from components.evaluate.predictions import iterate_rows
from components.shared.contracts import Example, GateVerdict, ModelCard
from components.shared.errors import ContractError
from components.shared.images.descriptors import descriptor_names
from components.shared.model_repository import CARD_FILE, EXAMPLES_FOLDER
from components.shared.reference_profile import write_reference
from components.shared.signing import SIGNING_KEY, key_path, sign_folder
from components.shared.slices import index_columns, read_index, spread_rows

REFERENCE_FILE = "reference.parquet"
MOST_EXAMPLES, WARMUP_SLICES = 32, 4
MOST_REFERENCE_SLICES = 5000
"""More than twice the slices that the monitor compares with (`MonitorConfig.max_reference_slices`)."""

_LIBRARIES = ("tensorflow", "keras", "numpy", "scikit-learn", "opencv-python-headless")
Rows = dict[str, NDArray[np.int64]]
"""Rows of slices, ascending, by split."""


def write_version(
    version: Path,
    name: str,
    source: EvaluationSource,
    selection: Selection,
    held_out: HeldOut,
    measurement: ModelMeasurement,
    verdict: GateVerdict,
) -> ModelCard:
    """Write all files of the served model, and sign them if there is a key.

    Args:
        version: Version folder, which must not exist.
        name: Name of the model.
        source: Data set and members.
        selection: Ensemble and open-set score.
        held_out: Slices that the served model was not trained on, with its scores.
        measurement: Results on the test slices.
        verdict: Verdict of the gate.

    Returns:
        The card of the model, as written.

    Raises:
        BadConfigError: The signing key cannot be used.
        ContractError: The index of the slices has no descriptors.
    """
    info = source.info
    ensemble, open_set, specimens = selection.ensemble, selection.open_set, selection.specimen_open_set
    graph = ServedGraph(source.members, ensemble, open_set, info.classes, info.channels, specimens.threshold)
    export_served_model(graph, version)
    examples = _write_examples(version, source, held_out)
    slices = [(version / example.file).read_bytes() for example in examples[:WARMUP_SLICES]]
    write_warmup_requests(version, name, graph, slices)
    _write_reference_profile(version, source, selection, held_out)
    card = _model_card(name, source, selection, held_out, measurement, verdict, graph, examples)
    card.write(version / CARD_FILE)
    sign_folder(version, key_path(SIGNING_KEY))
    return card


def _model_card(
    name: str,
    source: EvaluationSource,
    selection: Selection,
    held_out: HeldOut,
    measurement: ModelMeasurement,
    verdict: GateVerdict,
    graph: ServedGraph,
    examples: tuple[Example, ...],
) -> ModelCard:
    info, ensemble = source.info, selection.ensemble
    return ModelCard(
        name=name,
        classes=info.classes,
        channels=info.channels,
        segmented=info.preprocessing.get("segment", {}).get("method") == "specimen",
        image_size=info.image_size,
        members=ensemble.members,
        rule=ensemble.rule.describe(info.classes),
        metrics=measurement.score,
        backbones=measurement.backbones,
        thresholds={"unknown_above": selection.open_set.threshold, "temperature": ensemble.temperature},
        gate=verdict,
        data_hash=info.sources_hash,
        code_version=__version__,
        reference=REFERENCE_FILE,
        signatures=graph.signatures(),
        versions=library_versions(),
        examples=examples,
        model_id=graph.model_id,
        held_out_split=held_out.split,
        specimen_open_set=selection.specimen_open_set.threshold,
    )


def _write_examples(version: Path, source: EvaluationSource, held_out: HeldOut) -> tuple[Example, ...]:
    """Write the first held-out slice of each species and return it with the scores of the ensemble."""
    (version / EXAMPLES_FOLDER).mkdir()
    slices = held_out.slices
    labels, first = np.unique(slices.labels, return_index=True)
    label_of = dict(zip(first[:MOST_EXAMPLES].tolist(), labels.tolist(), strict=False))
    examples = {}
    for row, image in iterate_rows(source.folder, held_out.split, label_of):
        label = label_of[row]
        file = f"{EXAMPLES_FOLDER}/{label:03d}.png"
        (version / file).write_bytes(image)
        scores = tuple(float(score) for score in held_out.scores[row])
        examples[label] = Example(id=slices.ids[row], file=file, species=source.info.classes[label], scores=scores)
    return tuple(examples[label] for label in sorted(examples))


def _write_reference_profile(version: Path, source: EvaluationSource, selection: Selection, held_out: HeldOut) -> None:
    """Write descriptors and predictions of slices that training did not use, with the fields of drift events.

    A large data set is sampled: the same share of every specimen's slices, since the monitor's thresholds are resampled
    from specimens.
    """
    splits = {"validation": selection.validation, held_out.split: held_out.outputs}
    ensemble = selection.ensemble
    rows = _reference_rows(splits)
    scores = np.concatenate([ensemble.scores(splits[split].logits)[numbers] for split, numbers in rows.items()])
    embedding = np.concatenate([splits[split].embedding(ensemble, numbers) for split, numbers in rows.items()])
    profile = _descriptors(source, rows).assign(
        specimen=np.concatenate([splits[split].slices.specimens[numbers] for split, numbers in rows.items()]),
        species=np.asarray(source.info.classes)[scores.argmax(axis=1)],
        confidence=scores.max(axis=1).astype(np.float64),
        unknown=np.concatenate([selection.flag_unknown(splits[split], numbers) for split, numbers in rows.items()]),
        embedding=list(embedding),
    )
    write_reference(version / REFERENCE_FILE, profile)


def _reference_rows(splits: Mapping[str, PredictedSplit]) -> Rows:
    """Return the rows of the reference profile by split."""
    specimens = np.concatenate([split.slices.specimens for split in splits.values()])
    sample = spread_rows(specimens, MOST_REFERENCE_SLICES)
    rows, begin = {}, 0
    for name, split in splits.items():
        end = begin + len(split.slices.ids)
        rows[name] = sample[(sample >= begin) & (sample < end)] - begin
        begin = end
    return rows


def _descriptors(source: EvaluationSource, rows: Rows) -> pd.DataFrame:
    names = descriptor_names(source.info.channels)
    absent = set(names) - set(index_columns(source.folder))
    if absent:
        columns = ", ".join(sorted(absent))
        raise ContractError(f"{source.folder}: the index has no {columns}", "descriptors", "Segment the slices again.")
    tables = [read_index(source.folder, split, names).iloc[numbers] for split, numbers in rows.items()]
    return pd.concat(tables, ignore_index=True)


def library_versions() -> dict[str, str]:
    """Return the versions of Taxonflow, Python and the libraries that the results depend on."""
    return {
        "taxonflow": __version__,
        "python": platform.python_version(),
        **{name: version_of(name) for name in _LIBRARIES},
    }


def code_digest() -> str:
    """Return a SHA-256 over the source files of all steps."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
