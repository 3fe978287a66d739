"""The species of a served model in the order of its scores, where its metadata show them.

TensorFlow Serving tells nothing of a model but its signatures. A dimension of a tensor has a name there, and nobody
computes with it: that of the scores' second one is the list of species as JSON.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_GRAPH_FILE, _SIGNATURE, _SCORES = "saved_model.pb", "serving_default", "scores"


def name_scores(folder: Path, classes: Sequence[str]) -> None:
    """Writes the species into the signatures of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel.FromString((folder / _GRAPH_FILE).read_bytes())
    for signature in document.meta_graphs[0].signature_def.values():
        if _SCORES in signature.outputs:
            signature.outputs[_SCORES].tensor_shape.dim[1].name = json.dumps(list(classes))
    (folder / _GRAPH_FILE).write_bytes(document.SerializeToString(deterministic=True))


def named_scores(signatures: Mapping[str, Any]) -> tuple[str, ...]:
    """Reads the species from signatures by name as metadata show them; () where the model does not name its scores."""
    try:
        return tuple(map(str, json.loads(signatures[_SIGNATURE]["outputs"][_SCORES]["tensor_shape"]["dim"][1]["name"])))
    except (LookupError, TypeError, ValueError):
        return ()
