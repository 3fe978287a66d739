"""The id of a served model: a SHA-256 over everything that decides its answers.

It is computed before the export, so that the graph itself can answer with it, and it does not depend on files: the same
weights, species, rule, temperature, open-set score and thresholds have the same id in every export.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.open_set import OpenSetScore
from components.evaluate.predictions import Member
from components.shared.contracts.specimen_threshold import SpecimenThreshold

_FORMAT = "taxonflow model id 1"


def model_id(
    members: Mapping[str, Member],
    ensemble: Ensemble,
    open_set: OpenSetScore,
    classes: Sequence[str],
    channels: int,
    specimen_open_set: SpecimenThreshold | None = None,
) -> str:
    """Return the id of a served model, 64 hexadecimal digits.

    Args:
        members: Backbones by name, at least those of the ensemble; others do not change the id.
        ensemble: Rule and temperature.
        open_set: Open-set score, its threshold and its feature banks.
        classes: Species in the order of the scores.
        channels: Number of channels of a slice, 1 or 3.
        specimen_open_set: Aggregation and thresholds that flag specimens; its own `model_id` is ignored.
    """
    digest = hashlib.sha256(_line(_FORMAT))
    digest.update(_line({"classes": list(classes), "channels": channels}))
    digest.update(_line({"rule": type(ensemble.rule).__name__, **_ordered(asdict(ensemble.rule))}))
    digest.update(_line({"temperature": ensemble.temperature, "members": list(ensemble.members)}))
    digest.update(_line({"terms": [asdict(term) for term in open_set.terms], "threshold": open_set.threshold}))
    if specimen_open_set:
        digest.update(_line({"specimen_open_set": specimen_open_set.model_dump(mode="json", exclude={"model_id"})}))
    for name, array in _arrays(members, ensemble, open_set):
        values = np.ascontiguousarray(array)
        digest.update(_line({"array": name, "shape": list(values.shape), "dtype": values.dtype.name}))
        digest.update(_little_endian(values).tobytes())
    return digest.hexdigest()


def _line(document: Any) -> bytes:
    """Return a document as one line of JSON; numbers are written with all their digits."""
    return json.dumps(document, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def _ordered(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a rule with mappings as lists of pairs, whose order `_line` keeps."""
    return {name: list(value.items()) if isinstance(value, Mapping) else value for name, value in fields.items()}


def _arrays(
    members: Mapping[str, Member], ensemble: Ensemble, open_set: OpenSetScore
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the weights and the arrays of the feature banks with their names, in a fixed order.

    A weight is named by its number in the network and its own name, as "kernel": the names of layers contain counters
    of the process that built them.
    """
    for backbone in ensemble.members:
        member = members[backbone]
        for number, weight in enumerate(member.network.weights):
            name = f"{backbone}/{member.card.image_size}/{number}/{weight.name}"
            yield name, np.asarray(weight.numpy() if hasattr(weight, "numpy") else weight)
    for number, bank in enumerate(open_set.banks):
        for field in ("bank", "whitening_matrix", "centres"):
            yield f"{field} of member {number}", getattr(bank, field)
        for layer, layer_bank in enumerate(bank.layers):
            for field in ("mean", "whitening_matrix", "bank"):
                yield f"{field} of layer {layer} of member {number}", getattr(layer_bank, field)
            if layer_bank.spacing is not None:
                yield f"spacing of layer {layer} of member {number}", layer_bank.spacing


def _little_endian(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("<"), copy=False) if values.dtype.kind in "iufc" else values
