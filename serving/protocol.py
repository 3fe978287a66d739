"""TensorFlow Serving's REST format: requests that are bounded before they are parsed, answers, and errors.

The format is documented at https://www.tensorflow.org/tfx/serving/api_rest: a request in row format has `instances` and
its answer `predictions`, a request in column format has `inputs` and its answer `outputs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from components.shared.errors import TaxonflowError
from serving.base64_fields import decode_base64
from serving.limits import Limits
from serving.outputs import Outputs

SIGNATURE = "serving_default"
INPUT = "image_bytes"
CROPS = "crops"
"""Name of the signature for pixels and of its input: uint8 [N, S, S, C], as `components.shared.images.crops` crops."""
SignatureInput = list[bytes] | NDArray[np.uint8]
"""Input of a signature: N encoded images, or N crops."""
MAX_SPECIMEN_CHARACTERS = 256
_BRACKETS_PER_INSTANCE, _COMMAS_PER_INSTANCE = 4, 4
_GZIP_SIGNATURE = b"\x1f\x8b"
_REQUEST_KEYS = frozenset({"signature_name", "instances", "inputs"})
_INSTANCE_KEYS = frozenset({INPUT, "specimen"})
_INSTANCE_EXAMPLE = f'{{"{INPUT}": {{"b64": "..."}}}}'


class RequestError(TaxonflowError):
    """An error that is the answer to a request.

    Args:
        status: HTTP status code.
        problem, expectation, remedy: Parts of the message, as in TaxonflowError.
    """

    def __init__(self, status: int, problem: str, expectation: str = "", remedy: str = "") -> None:
        self.status = status
        super().__init__(problem, expectation, remedy)


@dataclass(frozen=True)
class Instance:
    """One slice of a request.

    Attributes:
        image: Encoded image as received.
        specimen: Name of its specimen, "" if the request names none.
    """

    image: bytes
    specimen: str = ""


@dataclass(frozen=True)
class PredictRequest:
    """A parsed request.

    Attributes:
        instances: Slices, at least one; empty for a request with crops.
        signature_name: Name of the requested signature.
        columns: Whether request and answer are in column format.
        version: Version in the request's path; None is the newest.
        crops: Crops for the signature CROPS, uint8 [N, S, S, C].
    """

    instances: tuple[Instance, ...]
    signature_name: str = SIGNATURE
    columns: bool = False
    version: int | None = None
    crops: NDArray[np.uint8] | None = None


def parse_predict(body: bytes | bytearray, limits: Limits, version: int | None = None) -> PredictRequest:
    """Parse a predict request.

    Args:
        body: JSON text of at most `limits.max_body_bytes`.
        limits: Limits of the request.
        version: Version in the request's path.

    Raises:
        RequestError: 400 for an invalid request.
    """
    document = _parse_object(body, limits)
    if ("instances" in document) == ("inputs" in document):
        raise _bad_request("a request with both or neither of instances and inputs", "one of them")
    unknown = sorted(set(document) - _REQUEST_KEYS)
    if unknown:
        raise _bad_request(f"the key {unknown[0][:64]!r}", f"only {', '.join(sorted(_REQUEST_KEYS))}")
    signature = document.get("signature_name", SIGNATURE)
    if not isinstance(signature, str):
        raise _bad_request(f"a signature_name that is a JSON {_json_type(signature)}", repr(SIGNATURE))
    columns = "inputs" in document
    if signature == CROPS:
        crops = _parse_crops(document["inputs"] if columns else document["instances"])
        _check_count(len(crops), limits)
        return PredictRequest((), signature, columns, version, crops)
    instances = _from_columns(document["inputs"]) if columns else _from_rows(document["instances"])
    _check_count(len(instances), limits)
    return PredictRequest(instances, signature or SIGNATURE, columns, version)


def _bad_request(problem: str, expectation: str = "", remedy: str = "") -> RequestError:
    return RequestError(400, problem, expectation, remedy)


def _parse_object(body: bytes | bytearray, limits: Limits) -> dict[str, Any]:
    if not body or body.isspace():
        raise _bad_request("an empty body", f'{{"instances": [{_INSTANCE_EXAMPLE}]}}')
    if body.startswith(_GZIP_SIGNATURE):
        raise _bad_request("a body in gzip format", "JSON", "Set the header Content-Encoding: gzip.")
    # Base64 has no brackets and no commas: their counts bound the memory and the depth of the document before parsing.
    most_commas = limits.max_instances * (_COMMAS_PER_INSTANCE + MAX_SPECIMEN_CHARACTERS)
    if len(body) > limits.max_value_bytes and body.count(b",") > most_commas:
        values = f"a body of {len(body)} bytes with more values than images"
        raise RequestError(413, values, f"at most {limits.max_value_bytes} bytes", "Send fewer crops per request.")
    brackets = body.count(b"[") + body.count(b"{")
    requests_crops = b'"' + CROPS.encode() + b'"' in body
    if brackets > (limits.max_pixel_lists if requests_crops else _BRACKETS_PER_INSTANCE * limits.max_instances):
        raise _bad_request(
            f"a body with {brackets} lists and objects",
            f"at most {limits.max_instances} instances",
            "Send fewer encoded images per request.",
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _bad_request(f"a body that is not JSON ({error})", f'{{"instances": [{_INSTANCE_EXAMPLE}]}}') from error
    if not isinstance(document, dict):
        raise _bad_request(f"a body that is a JSON {_json_type(document)}", "an object with instances or inputs")
    return document


def _check_count(count: int, limits: Limits) -> None:
    if not count:
        raise _bad_request("no instance", "at least one", f"Send {_INSTANCE_EXAMPLE} per slice.")
    if count > limits.max_instances:
        raise _bad_request(f"{count} instances", f"at most {limits.max_instances}", "Send fewer per request.")


def _from_rows(rows: Any) -> tuple[Instance, ...]:
    if not isinstance(rows, list):
        raise _bad_request(f"instances that are a JSON {_json_type(rows)}", "a list", f"Send [{_INSTANCE_EXAMPLE}].")
    return tuple(_parse_row(row, f"instance {number}") for number, row in enumerate(rows))


def _parse_row(row: Any, name: str) -> Instance:
    if isinstance(row, dict) and "b64" in row:
        return Instance(_parse_image(row, name))
    if not isinstance(row, dict) or INPUT not in row:
        raise _bad_request(f"{name} without {INPUT}", _INSTANCE_EXAMPLE)
    unknown = sorted(set(row) - _INSTANCE_KEYS)
    if unknown:
        raise _bad_request(f"{name} with the key {unknown[0][:64]!r}", f"only {', '.join(sorted(_INSTANCE_KEYS))}")
    return Instance(_parse_image(row[INPUT], name), _parse_specimen(row.get("specimen"), name))


def _from_columns(columns: Any) -> tuple[Instance, ...]:
    if not isinstance(columns, dict) or "b64" in columns:
        columns = {INPUT: columns}
    unknown = sorted(set(columns) - _INSTANCE_KEYS)
    if unknown or INPUT not in columns:
        raise _bad_request(f"inputs with the keys {sorted(columns)[:4]!r:.128}", f"{INPUT}, optionally with specimen")
    images = columns[INPUT] if isinstance(columns[INPUT], list) else [columns[INPUT]]
    specimens = columns.get("specimen")
    if not isinstance(specimens, list):
        specimens = [specimens] * len(images)
    if len(specimens) != len(images):
        raise _bad_request(f"{len(specimens)} specimens for {len(images)} images", f"{len(images)}")
    return tuple(
        Instance(_parse_image(image, f"instance {number}"), _parse_specimen(specimen, f"instance {number}"))
        for number, (image, specimen) in enumerate(zip(images, specimens, strict=True))
    )


def _parse_crops(value: Any) -> NDArray[np.uint8]:
    """Parse crops, uint8 [N, S, S, C], from nested lists in row or column format."""
    rows = value.get(CROPS) if isinstance(value, dict) else value
    if isinstance(rows, list):
        rows = [row.get(CROPS) if isinstance(row, dict) else row for row in rows]
    values = "whole numbers from 0 to 255 in the shape that the model's metadata state"
    objects = np.array(rows, object)  # a text array would allocate the longest text for every item
    if str in set(map(type, objects.flat)):
        raise _bad_request(f"crops of {objects.ndim} dimensions and text values", f"{CROPS} [N, S, S, C], {values}")
    try:
        crops = np.array(rows)
    except ValueError as error:
        raise _bad_request("crops with lists of different lengths", values) from error
    if crops.ndim != 4 or crops.dtype.kind not in "iu" or not crops.size or crops.min() < 0 or crops.max() > 255:
        raise _bad_request(
            f"crops of {crops.ndim} dimensions and {crops.dtype} values", f"{CROPS} [N, S, S, C], {values}"
        )
    return crops.astype(np.uint8)


def _parse_image(value: Any, name: str) -> bytes:
    if not isinstance(value, dict) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise _bad_request(
            f"{name} with an image that is a JSON {_json_type(value)}", '{"b64": "<the image file in base64>"}'
        )
    try:
        return decode_base64(value["b64"])
    except ValueError as error:
        raise _bad_request(f"{name} with a string that is not base64 ({error})", "the image file in base64") from error


def _parse_specimen(value: Any, name: str) -> str:
    if value is None or (isinstance(value, str) and len(value) <= MAX_SPECIMEN_CHARACTERS):
        return value or ""
    raise _bad_request(
        f"{name} with a specimen that is a JSON {_json_type(value)}",
        f"a string of 1..{MAX_SPECIMEN_CHARACTERS} characters",
    )


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def predict_answer(outputs: Outputs, columns: bool, specimens: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a predict request.

    Args:
        outputs: Outputs of all slices.
        columns: Whether the answer is in column format.
        specimens: Vote for each specimen that the request names.
    """
    answer: dict[str, Any] = {"outputs": outputs.columns()} if columns else {"predictions": outputs.rows()}
    return {**answer, "specimens": specimens} if specimens else answer


def status_answer(states: dict[int, tuple[str, str]]) -> dict[str, Any]:
    """Return the answer to a status request.

    Args:
        states: State (AVAILABLE, LOADING, END) and error message by version.
    """
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": state,
                "status": {"error_code": "UNKNOWN" if message else "OK", "error_message": message},
            }
            for version, (state, message) in sorted(states.items(), reverse=True)
        ]
    }


def encode_answer(answer: Any) -> bytes:
    """Encode an answer as JSON; NumPy arrays become lists, NaN becomes null."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
