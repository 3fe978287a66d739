"""A version of the served model as a folder: SavedModel, card, known slices, warm-up, reference profile, digests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components import __version__
from components.evaluate.export.profile import MOST_SLICES, reference_profile
from components.evaluate.export.provenance import library_versions
from components.evaluate.export.saved_model import ServedModel, export_served_model, write_warmup_requests
from components.evaluate.measurement import Measured
from components.evaluate.model_selection import Choice, HeldOut, Source
from components.evaluate.predictions import chosen_slices
from components.shared.contracts import Example, GateVerdict, ModelCard
from components.shared.errors import ContractError
from components.shared.images.descriptors import descriptor_names
from components.shared.model_repository import CARD_FILE
from components.shared.reference_profile import write_reference
from components.shared.signing import SIGNING_KEY, key_path, sign_folder
from components.shared.slices import index_columns, read_index, spread_rows

REFERENCE_FILE, EXAMPLES_FOLDER = "reference.parquet", "examples"
MOST_EXAMPLES, WARMUP_SLICES = 32, 4


def write_version(
    version: Path, name: str, source: Source, choice: Choice, measured: Measured, verdict: GateVerdict
) -> ModelCard:
    """Writes all that is served, and signs it where there is a key.

    Args:
        version: the folder, which does not exist yet.
        name: of the model.
        source: data set and members.
        choice: made on validation.
        measured: on test.
        verdict: of the gate.

    Returns:
        The model's card, as written.

    Raises:
        BadConfigError: the key to sign with cannot be used.
        ContractError: the index of the slices has no descriptors.
    """
    served = ServedModel(source.members, choice.ensemble, choice.unknown, source.info.classes, source.info.channels)
    export_served_model(served, version)
    examples = _write_examples(version, source, measured)
    known = [(version / example.file).read_bytes() for example in examples[:WARMUP_SLICES]]
    write_warmup_requests(version, name, served, known)
    _write_reference_profile(version, source, choice, measured.test)
    card = _model_card(name, source, choice, measured, verdict, served, examples)
    card.write(version / CARD_FILE)
    sign_folder(version, key_path(SIGNING_KEY))
    return card


def _model_card(
    name: str,
    source: Source,
    choice: Choice,
    measured: Measured,
    verdict: GateVerdict,
    served: ServedModel,
    examples: tuple[Example, ...],
) -> ModelCard:
    info, ensemble = source.info, choice.ensemble
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
        examples=examples,
    )


def _write_examples(version: Path, source: Source, measured: Measured) -> tuple[Example, ...]:
    """Keeps the first test slice of each species, with the ensemble's answer."""
    (version / EXAMPLES_FOLDER).mkdir()
    test = measured.test.slices
    labels, first = np.unique(test.labels, return_index=True)
    label_of = dict(zip(first[:MOST_EXAMPLES].tolist(), labels.tolist(), strict=False))
    examples = {}
    for row, encoded in chosen_slices(source.folder, "test", label_of):
        label = label_of[row]
        file = f"{EXAMPLES_FOLDER}/{label:03d}.png"
        (version / file).write_bytes(encoded)
        answer = tuple(float(score) for score in measured.scores[row])
        examples[label] = Example(id=test.ids[row], file=file, species=source.info.classes[label], scores=answer)
    return tuple(examples[label] for label in sorted(examples))


def _write_reference_profile(version: Path, source: Source, choice: Choice, test: HeldOut) -> None:
    held_out = {"validation": choice.validation, "test": test}
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
