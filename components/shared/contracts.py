"""What the rooms of the house hand to one another: one frozen document, one reader and one writer for each artifact.

Folders that hold more than a document have their own module beside this one: `components.shared.slices` for the
data set of slices, `components.shared.reference_profile` for the reference profile.
"""

import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from components.shared.config import Frozen
from components.shared.errors import ContractError
from components.shared.files import write_atomically
from components.shared.model_score import BackboneScore, ModelScore, rename_open_set_scores

MAX_DOCUMENT_BYTES = 64 * 2**20
DIGESTS_FILE = "digests.json"


class Document(Frozen):
    """A versioned JSON document: the base of every contract.

    A subclass names its `SCHEMA`; readers refuse every other one.
    """

    SCHEMA: ClassVar[str]
    OLDER_SCHEMAS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Convert the fields of a document of one of OLDER_SCHEMAS to those of SCHEMA."""
        return fields

    def to_json(self) -> str:
        """Returns the document as JSON with its schema first."""
        return json.dumps({"schema": self.SCHEMA, **self.model_dump(mode="json")}, indent=1)

    def write(self, path: Path) -> None:
        """Writes the document atomically.

        Raises:
            ContractError: nobody would read it, for it is larger than MAX_DOCUMENT_BYTES.
        """
        content = self.to_json().encode()
        if len(content) > MAX_DOCUMENT_BYTES:
            found = f"{path} of {len(content)} bytes"
            raise ContractError(found, f"at most {MAX_DOCUMENT_BYTES}", "Use fewer files at a time.")
        write_atomically(path, content)

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self:
        """Reads a document from JSON.

        Args:
            text: the JSON text.
            source: where it came from, for messages.

        Raises:
            ContractError: not JSON, another schema version, or fields that do not fit.
        """
        try:
            fields: Any = json.loads(text)
        except (ValueError, RecursionError) as error:  # the latter of a document nested thousands of times
            raise ContractError(f"{source} is not JSON ({error})", f"a {cls.SCHEMA} document") from error
        schema = fields.pop("schema", None) if isinstance(fields, dict) else None
        if schema != cls.SCHEMA and schema not in cls.OLDER_SCHEMAS:
            raise ContractError(
                f"{source} has schema {schema!r}",
                repr(cls.SCHEMA),
                "Make it again with this version of Taxonflow.",
            )
        try:
            return cls.model_validate(fields if schema == cls.SCHEMA else cls.upgrade(fields))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{source}: field {where!r}: {first['msg']}", f"a {cls.SCHEMA} document") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a document from a file.

        Raises:
            ContractError: the file is missing, larger than MAX_DOCUMENT_BYTES, or not such a document.
        """
        if not path.is_file():
            raise ContractError(f"{path} does not exist", f"a {cls.SCHEMA} document")
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise ContractError(f"{path} has {path.stat().st_size} bytes", f"at most {MAX_DOCUMENT_BYTES}")
        return cls.parse(path.read_bytes(), str(path))


class Refusal(Frozen):
    """A file that was left out of a data set, and why."""

    path: str
    reason: str


class NearCopies(Frozen):
    """Specimens whose scans show one individual, so that they share a split.

    Attributes:
        specimens: their names in the manifest's order; those of one species count as one, under the first name.
        species: which they are said to be; more than one is a contradiction that somebody must look at.
        distance: of the least alike pair that joins them, 0..2.
    """

    specimens: tuple[str, ...]
    species: tuple[str, ...]
    distance: float


class SplitCount(Frozen):
    """How much of a species is in a split."""

    species: str
    split: str
    specimens: int
    slices: int


class SlicesInfo(Document):
    """`dataset.json` of a slices folder.

    Attributes:
        classes: species in the order of their labels.
        image_size: edge of the square slices in pixels.
        channels: 1 for grey, 3 for colour.
        counts: specimens and slices for each species and split; the split `unseen` has species outside the classes.
        seed: the seed of every random choice.
        preprocessing: the parameters of the steps that made the slices, by step.
        sources_hash: SHA-256 over the source files' digests, species and specimens in the manifest's order.
        refused: files left out.
        near_copies: specimens that turned out to be one individual.
    """

    SCHEMA: ClassVar[str] = "taxonflow.slices/1"

    classes: tuple[str, ...]
    image_size: int
    channels: int
    counts: tuple[SplitCount, ...]
    seed: int
    preprocessing: dict[str, dict[str, Any]]
    sources_hash: str
    refused: tuple[Refusal, ...] = ()
    near_copies: tuple[NearCopies, ...] = ()

    def slices(self, split: str = "") -> int:
        """Returns how many slices there are, in one split or in all."""
        return sum(count.slices for count in self.counts if split in ("", count.split))

    def specimens(self, split: str = "") -> int:
        """Returns how many specimens there are, in one split or in all."""
        return sum(count.specimens for count in self.counts if split in ("", count.split))


class BackboneCard(Document):
    """`model.json` of a trained backbone.

    Attributes:
        backbone: its name in the registry.
        parameters: number of weights.
        image_size: edge of its input in pixels; the input is float32 [N, image_size, image_size, channels] in 0..255.
        channels: 1 or 3.
        classes: species in the order of the logits.
        recipe: the training configuration.
        history: one row of metrics for each epoch.
        metrics: the best epoch's validation metrics.
        data_hash: `SlicesInfo.sources_hash` of the training data.
        seconds: wall time of training.
        frozen_epochs: how many of the first epochs trained the head alone.
        weights_sha256: of the file that the training began with; empty where there was none.
    """

    SCHEMA: ClassVar[str] = "taxonflow.backbone/1"

    backbone: str
    parameters: int
    image_size: int
    channels: int
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    history: tuple[dict[str, float], ...]
    metrics: dict[str, float]
    data_hash: str
    seconds: float
    frozen_epochs: int = 0
    weights_sha256: str = ""


class GateVerdict(Frozen):
    """Whether a model may reach users, and the reasons in sentences."""

    passed: bool
    accuracy: float
    threshold: float
    reasons: tuple[str, ...]


class Example(Frozen):
    """A known slice: its file inside the version folder, and what the evaluation answered.

    Attributes:
        id: of the slice in the data set.
        file: relative to the version folder.
        species: the truth.
        scores: of the ensemble in the order of the classes.
    """

    id: str
    file: str
    species: str
    scores: tuple[float, ...]

    def difference(self, scores: Sequence[float]) -> float:
        """Return the largest absolute difference between these scores and the evaluation's.

        Returns:
            Infinity for another number of scores or a score that is not finite.
        """
        if len(scores) != len(self.scores):
            return math.inf
        differences = [abs(score - expected) for score, expected in zip(scores, self.scores, strict=True)]
        return max(differences, default=0.0) if all(map(math.isfinite, differences)) else math.inf


SERVED_TOLERANCE = 0.01
"""Largest difference of a served score from the evaluation's: a GPU rounds differently from the CPU that evaluated."""


class ModelCard(Document):
    """`model.json` of a served model, inside its version folder.

    Attributes:
        name: the model's name in the endpoint's address.
        classes: species in the order of `scores`.
        channels: 1 for grey, 3 for colour.
        segmented: whether the model expects segmented slices, so that raw ones are segmented before it.
        image_size: edge of the slices that it was trained on in pixels, to which photographs are scaled; 0 if unknown.
        members: the backbones of the ensemble.
        rule: the ensemble rule in words.
        metrics: Scores of the ensemble on the test set.
        backbones: Scores of each trained backbone on the test set, by its name.
        thresholds: `unknown_above`, the score above which a slice is of an unknown species, and the temperature.
        gate: the verdict.
        data_hash: `SlicesInfo.sources_hash`.
        code_version: version of Taxonflow that made it.
        reference: file of the reference profile, relative to the version folder.
        signatures: input, dtype and shape of each signature of the SavedModel, None for any number.
        versions: of the libraries that made it.
        examples: known test slices with the evaluation's answers.
    """

    SCHEMA: ClassVar[str] = "taxonflow.served-model/2"
    OLDER_SCHEMAS: ClassVar[frozenset[str]] = frozenset({"taxonflow.served-model/1"})

    name: str
    classes: tuple[str, ...]
    channels: int
    segmented: bool
    image_size: int = 0
    members: tuple[str, ...]
    rule: str
    metrics: ModelScore
    backbones: dict[str, BackboneScore] = Field(default_factory=dict)
    thresholds: dict[str, float]
    gate: GateVerdict
    data_hash: str
    code_version: str
    reference: str = "reference.parquet"
    signatures: dict[str, dict[str, Any]] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Rename the open-set scores in a card of Taxonflow 0.1.0, the only difference from today's fields."""
        return {**fields, "metrics": rename_open_set_scores(fields.get("metrics"))}


class FileDigests(Document):
    """What a served model's folder holds; `components.shared.signing` writes and checks it.

    Attributes:
        files: SHA-256 in hexadecimal by the path below the folder.
    """

    SCHEMA: ClassVar[str] = "taxonflow.file-digests/1"

    files: dict[str, str]


class DriftEvent(Document):
    """What an answered slice leaves for the monitor. Never the image.

    Attributes:
        id: unique for each slice answered.
        time: seconds since 1970, UTC.
        model: name of the model.
        version: version of the model that answered.
        specimen: the specimen's id as the user gave it, or an id for the request.
        species: the answer.
        confidence: of the answer, 0..1.
        unknown: whether the model takes it for a species it never saw.
        descriptors: `components.shared.images.descriptors.describe` of the segmented slice.
        embedding: float [D] from the model, or empty.
    """

    SCHEMA: ClassVar[str] = "taxonflow.drift-event/2"

    id: str
    time: float
    model: str
    version: int
    specimen: str
    species: str
    confidence: float
    unknown: bool
    descriptors: dict[str, float]
    embedding: tuple[float, ...] = ()

    def to_line(self) -> str:
        """Returns the event as one line of JSON without the line's end; the last key is the CRC-32 of all before it."""
        body = json.dumps({"schema": self.SCHEMA, **self.model_dump(mode="json")}, separators=(",", ":"))[:-1]
        return body + _seal(body.encode()).decode()

    @classmethod
    def of_line(cls, line: bytes, source: str) -> Self:
        """Reads a line that `to_line` made.

        Args:
            line: without the line's end.
            source: where it came from, for messages.

        Raises:
            ContractError: a byte of it is not as it was written, or it is no such event.
        """
        body, seal = line[:-SEAL_BYTES], line[-SEAL_BYTES:]
        if seal != _seal(body):
            raise ContractError(f"{source} has a damaged line", "one that ends with its CRC-32")
        return cls.parse(body + b"}", source)


def _seal(body: bytes) -> bytes:
    return b',"crc32":"%08x"}' % zlib.crc32(body)


SEAL_BYTES = len(_seal(b""))
