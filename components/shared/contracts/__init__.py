"""Contracts between the packages: for each artifact a frozen document with its schema, reader and writer.

Artifacts with more than a document have their own module: `components.shared.slices` for the data set of slices,
`components.shared.reference_profile` for the reference profile.
"""

import json
import math
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from components.shared.config import Frozen
from components.shared.contracts.document import Document
from components.shared.contracts.doubtful_mask import DoubtfulMask
from components.shared.contracts.model_score import BackboneScore, ModelScore, upgrade_card_of_0_1_0
from components.shared.contracts.source_notes import Note
from components.shared.contracts.specimen_threshold import SpecimenThreshold
from components.shared.errors import ContractError

DIGESTS_FILE = "digests.json"


class Refusal(Frozen):
    """A source file that was rejected, and the reason for it."""

    path: str
    reason: str


class NearCopies(Frozen):
    """Specimens whose scans show one individual, so that they share a split.

    Attributes:
        specimens: Names in the order of the manifest. Those of one species count as one specimen, under the first name.
        species: Labels of the specimens; more than one is a contradiction that a person must resolve.
        distance: Distance of the least similar pair that joins them, 0..2.
        obstacle: Reason why the specimens are only reported and do not share a split; empty if they share one.
    """

    specimens: tuple[str, ...]
    species: tuple[str, ...]
    distance: float
    obstacle: str = ""


class SplitCount(Frozen):
    """The number of specimens and slices of one species in one split."""

    species: str
    split: str
    specimens: int
    slices: int


class SlicesInfo(Document):
    """`dataset.json` of a slices folder.

    Attributes:
        classes: Species in the order of their labels.
        image_size: Edge of the square slices in pixels.
        channels: 1 for grey, 3 for colour.
        counts: Specimens and slices by species and split; the split `unseen` has the species outside the classes.
        seed: Seed of every random choice.
        preprocessing: Parameters of the steps that produced the slices, by step.
        sources_hash: SHA-256 over the digests, species and specimens of the source files in the order of the manifest.
        refused: Source files that were rejected.
        near_copies: Groups of specimens that show one individual.
        notes: Sentences about usable source files, for example about contradictions in a header.
        passed_over: Number of files in the source folder that were not read, by their endings.
        rare_species: Number of specimens of each species with fewer than three; unseen if it is not in `classes`.
        doubtful_masks: Volumes with a doubtful mask, in the order of the manifest, also those refused because of it.
        folds: Number of folds of the cross-validation, in which every specimen is tested once; 0 for a test split. With
            folds the split `test` is empty, and `index.parquet` has the column `fold`.
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
    notes: tuple[Note, ...] = ()
    passed_over: dict[str, int] = Field(default_factory=dict)
    rare_species: dict[str, int] = Field(default_factory=dict)
    doubtful_masks: tuple[DoubtfulMask, ...] = ()
    folds: int = 0

    def slices(self, split: str = "") -> int:
        """Return the number of slices in one split, or in all of them."""
        return sum(count.slices for count in self.counts if split in ("", count.split))

    def specimens(self, split: str = "") -> int:
        """Return the number of specimens in one split, or in all of them."""
        return sum(count.specimens for count in self.counts if split in ("", count.split))


class BackboneCard(Document):
    """`model.json` of a trained backbone.

    Attributes:
        backbone: Name of the backbone in the registry.
        parameters: Number of weights.
        image_size: Edge of the input in pixels; the input is float32 [N, image_size, image_size, channels] in 0..255.
        channels: 1 for grey, 3 for colour.
        classes: Species in the order of the logits.
        recipe: Training configuration.
        history: Metrics of each epoch.
        metrics: Validation metrics of the best epoch.
        data_hash: `SlicesInfo.sources_hash` of the training data.
        seconds: Wall time of the training.
        frozen_epochs: Number of first epochs in which only the head was trained.
        weights_sha256: SHA-256 of the file of initial weights; empty without such a file.
        folds: Number of models that were trained beside this one, one for each fold of the data set.
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
    folds: int = 0


class GateVerdict(Frozen):
    """Decision of the gate whether a model may be deployed, with its reasons as sentences."""

    passed: bool
    accuracy: float
    threshold: float
    reasons: tuple[str, ...]


class Example(Frozen):
    """A held-out slice in the version folder with the evaluation's scores, with which served scores are compared.

    Attributes:
        id: Id of the slice in the data set.
        file: Path of the slice, relative to the version folder.
        species: True species.
        scores: Scores of the ensemble in the order of the classes.
    """

    id: str
    file: str
    species: str
    scores: tuple[float, ...]

    def difference(self, scores: Sequence[float]) -> float:
        """Return the largest absolute difference between these scores and the evaluation's.

        Returns:
            The difference; infinity for another number of scores or a score that is not finite.
        """
        if len(scores) != len(self.scores):
            return math.inf
        differences = [abs(served_score - score) for served_score, score in zip(scores, self.scores, strict=True)]
        return max(differences, default=0.0) if all(map(math.isfinite, differences)) else math.inf


SERVED_TOLERANCE = 0.01
"""Largest accepted difference of a served score from the evaluation's: GPUs and CPUs round differently."""


class ModelCard(Document):
    """`model.json` of a served model, inside its version folder.

    Attributes:
        name: Name of the model in the endpoint's URL.
        classes: Species in the order of `scores`.
        channels: 1 for grey, 3 for colour.
        segmented: Whether the model expects segmented slices, so that raw slices are segmented first.
        image_size: Edge of the training slices in pixels, to which photographs are scaled; 0 if unknown.
        members: Backbones of the ensemble.
        rule: Description of the ensemble rule.
        metrics: Scores of the ensemble on the test slices.
        backbones: Scores of each trained backbone on the test slices, by its name.
        thresholds: `unknown_above`, the score above which a slice is of an unknown species, and the temperature.
        gate: Verdict of the quality gate.
        data_hash: `SlicesInfo.sources_hash` of the data set.
        code_version: Version of Taxonflow that produced the model.
        reference: Path of the reference profile, relative to the version folder.
        signatures: Input, dtype and shape of each signature of the SavedModel; None in a shape means any size.
        versions: Versions of the libraries that produced the model.
        examples: Held-out slices with the scores of the evaluation.
        model_id: Id of the model, the output `model` of its graph; empty for a model of version 0.1.0, which has no
            such output.
        held_out_split: Split of the examples, of the comparison with the champion and of known species in open-set
            scores: "test", or "validation" for a model that was tested by folds.
        specimen_open_set: Aggregation and thresholds by which a specimen is flagged as unknown; None for a model
            without them, whose specimens are flagged if more than half of their slices are.
    """

    SCHEMA: ClassVar[str] = "taxonflow.served-model/2"
    OLDER_SCHEMAS = {"taxonflow.served-model/1": upgrade_card_of_0_1_0}  # noqa: RUF012 the base class annotates it

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
    model_id: str = ""
    held_out_split: str = "test"
    specimen_open_set: SpecimenThreshold | None = None


class FileDigests(Document):
    """`digests.json` of a served model; `components.shared.signing` writes and checks it.

    Attributes:
        files: SHA-256 in hexadecimal, by path relative to the folder.
    """

    SCHEMA: ClassVar[str] = "taxonflow.file-digests/1"

    files: dict[str, str]


class DriftEvent(Document):
    """The record of one classified slice for the monitor; it never contains the image.

    Attributes:
        id: Unique id of the classified slice.
        time: Seconds since 1970, UTC.
        model: Name of the model.
        version: Version of the model that classified the slice; 0 if the answer names an unknown model.
        specimen: Id of the specimen in the request, or an id of the request.
        species: Predicted species.
        confidence: Probability of the predicted species, 0..1.
        unknown: Whether the slice is classified as a species outside the classes.
        descriptors: `components.shared.images.descriptors.describe` of the segmented slice.
        embedding: Embedding of the model, float [D], or empty.
        model_id: Id of the model that classified the slice; empty for a model without an id.
        specimen_unknown: Whether the request's slices of this specimen together are flagged as a species outside the
            classes; None for a slice without a specimen.
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
    model_id: str = ""
    specimen_unknown: bool | None = None

    def to_line(self) -> str:
        """Return the event as one line of JSON without a line end; its last key is the CRC-32 of all bytes before."""
        body = json.dumps({"schema": self.SCHEMA, **self.model_dump(mode="json")}, separators=(",", ":"))[:-1]
        return body + _crc_field(body.encode()).decode()

    @classmethod
    def from_line(cls, line: bytes, source: str) -> Self:
        """Parse a line written by `to_line`.

        Args:
            line: Line without its line end.
            source: Origin of the line, for messages.

        Raises:
            ContractError: A byte of the line has changed, or the line is not such an event.
        """
        body, crc_field = line[:-CRC_FIELD_BYTES], line[-CRC_FIELD_BYTES:]
        if crc_field != _crc_field(body):
            raise ContractError(f"{source} has a damaged line", "a line that ends with its CRC-32")
        return cls.parse(body + b"}", source)


def _crc_field(body: bytes) -> bytes:
    return b',"crc32":"%08x"}' % zlib.crc32(body)


CRC_FIELD_BYTES = len(_crc_field(b""))
