"""The species of a served model in its signatures, where TensorFlow Serving's metadata show them.

It tells nothing else of a model. A dimension of a tensor has a name there, and nobody computes with it: that of the
scores' second one is the list of species as JSON, which `serving.votes` reads.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from components.shared.model_repository import GRAPH_FILE


def name_scores(folder: Path, classes: Sequence[str]) -> None:
    """Writes the species, in the order of the scores, into the signatures of a SavedModel."""
    file = folder / GRAPH_FILE
    document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for signature in document.meta_graphs[0].signature_def.values():
        if "scores" in signature.outputs:
            signature.outputs["scores"].tensor_shape.dim[1].name = json.dumps(list(classes))
    file.write_bytes(document.SerializeToString(deterministic=True))
