"""The contents of a report: the model card and measurement, with the confused pairs and mistakes worth showing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from components.evaluate.ensemble.selection import Candidate
from components.evaluate.measurement import ModelMeasurement
from components.evaluate.predictions import SplitSlices
from components.shared.contracts import BackboneCard, ModelCard, SlicesInfo
from components.shared.contracts.model_score import ModelScore
from components.shared.metrics import Scores

MOST_MISTAKES, MOST_PAIRS, MISTAKES_PER_SPECIMEN = 12, 6, 2


@dataclass(frozen=True)
class ConfusedPair:
    """Two species, of which slices of the first are identified as the second.

    Attributes:
        truth: True species.
        answer: Predicted species.
        slices: Number of test slices of the true species with this answer.
        specimens: Number of specimens with such slices.
        share: Share of the true species' test slices.
        row: Row of the test slice with the highest confidence in the answer.
        correct_row: Row of the slice of the predicted species that is identified correctly with the highest
            confidence; None if there is none.
    """

    truth: str
    answer: str
    slices: int
    specimens: int
    share: float
    row: int
    correct_row: int | None


@dataclass(frozen=True)
class Mistake:
    """A test slice that is identified wrongly.

    Attributes:
        row: Row of the slice among the test slices.
        id: Id of the slice.
        specimen: Specimen of the slice.
        truth: True species.
        answer: Predicted species.
        confidence: Score of the predicted species.
        truth_score: Score of the true species.
    """

    row: int
    id: str
    specimen: str
    truth: str
    answer: str
    confidence: float
    truth_score: float


@dataclass(frozen=True)
class TrainingStage:
    """A stage of a network's training.

    Attributes:
        network: Name of the network.
        initial_weights: Weights at the start, `random` for none.
        class_weights: Class weights of the loss.
        layers: Layers that were trained.
        epochs: Number of epochs.
        accuracy: Accuracy on validation slices in the epoch that the stage would keep.
        loss: Loss on validation slices in this epoch.
    """

    network: str
    initial_weights: str
    class_weights: str
    layers: str
    epochs: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Provenance:
    """Data, networks and code of a model.

    Attributes:
        info: Description of the data set.
        members: Cards of all evaluated backbones.
        digests: SHA-256 of each backbone's `model.keras`, by name.
        code: SHA-256 of the evaluating code.
        seed: Seed of the permutations of the paired tests.
        material: Name of the specimens, such as "synthetic specimens".
    """

    info: SlicesInfo
    members: tuple[BackboneCard, ...]
    digests: Mapping[str, str]
    code: str
    seed: int
    material: str


@dataclass(frozen=True)
class Findings:
    """The contents of a report but for its images.

    Attributes:
        card: Card of the served model.
        provenance: Data, networks and code of the model.
        measurement: Results on the test slices.
        candidates: Rules that were compared on validation slices.
        pairs: Pairs of species that are confused in most slices, most frequent first.
        mistakes: Mistakes with the highest confidence.
    """

    card: ModelCard
    provenance: Provenance
    measurement: ModelMeasurement
    candidates: tuple[Candidate, ...]
    pairs: tuple[ConfusedPair, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def score(self) -> ModelScore:
        """Return the metrics of the ensemble on the test set."""
        return self.card.metrics


def collect_findings(
    card: ModelCard, provenance: Provenance, measurement: ModelMeasurement, candidates: Sequence[Candidate] = ()
) -> Findings:
    """Collect the contents of a report.

    Args:
        card: Card of the served model.
        provenance: Data, networks and code of the model.
        measurement: Results on the test slices.
        candidates: Rules that were compared on validation slices.
    """
    slices, scores = measurement.slices, measurement.scores
    return Findings(
        card=card,
        provenance=provenance,
        measurement=measurement,
        candidates=tuple(candidates),
        pairs=confused_pairs(card.classes, measurement),
        mistakes=worst_mistakes(card.classes, scores, slices),
    )


def training_stages(card: BackboneCard) -> tuple[TrainingStage, ...]:
    """Return the stages of a network's training with the metrics of the epoch that each would keep."""
    weights, class_weights = (str(card.recipe.get(key, "none")) for key in ("weights", "class_weights"))
    monitor, has_weights = card.recipe.get("monitor", "val_loss"), weights != "none"
    later_layers = "head and features" if has_weights else "all layers"
    stages = []
    for phase, rows in groupby(card.history, key=lambda row: row.get("phase")):
        epochs = list(rows)
        best = min(epochs, key=lambda row: row["val_loss"] if monitor == "val_loss" else -row["val_accuracy"])
        layers = "head" if phase == 1 else later_layers
        start = weights if has_weights else "random"
        metrics = best["val_accuracy"], best["val_loss"]
        stages.append(TrainingStage(card.backbone, start, class_weights, layers, len(epochs), *metrics))
    return tuple(stages)


def confused_pairs(
    classes: Sequence[str], measurement: ModelMeasurement, most: int = MOST_PAIRS
) -> tuple[ConfusedPair, ...]:
    """Return the pairs of species that are confused in most slices, most frequent first."""
    mistakes = measurement.confusion - np.diag(np.diag(measurement.confusion))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), len(classes)) for cell in order]
    return tuple(_pair(classes, measurement, truth, answer) for truth, answer in cells if mistakes[truth, answer])


def _pair(classes: Sequence[str], measurement: ModelMeasurement, truth: int, answer: int) -> ConfusedPair:
    scores, slices = measurement.scores, measurement.slices
    answers = scores.argmax(axis=1) == answer
    rows = np.flatnonzero(answers & (slices.labels == truth))
    correct = np.flatnonzero(answers & (slices.labels == answer))
    return ConfusedPair(
        truth=classes[truth],
        answer=classes[answer],
        slices=len(rows),
        specimens=len(np.unique(slices.specimens[rows])),
        share=len(rows) / int(measurement.confusion[truth].sum()),
        row=int(rows[scores[rows, answer].argmax()]),
        correct_row=int(correct[scores[correct, answer].argmax()]) if len(correct) else None,
    )


def worst_mistakes(
    classes: Sequence[str], scores: Scores, slices: SplitSlices, most: int = MOST_MISTAKES
) -> tuple[Mistake, ...]:
    """Return the mistakes with the highest confidence, at most MISTAKES_PER_SPECIMEN of one specimen."""
    answers, confidence = scores.argmax(axis=1), scores.max(axis=1)
    mistakes = np.flatnonzero(answers != slices.labels)
    rows: list[int] = []
    by_specimen: dict[str, int] = {}
    for row in mistakes[np.argsort(-confidence[mistakes], kind="stable")].tolist():
        specimen = str(slices.specimens[row])
        by_specimen[specimen] = by_specimen.get(specimen, 0) + 1
        if by_specimen[specimen] <= MISTAKES_PER_SPECIMEN and len(rows) < most:
            rows.append(row)
    return tuple(
        Mistake(
            row=row,
            id=str(slices.ids[row]),
            specimen=str(slices.specimens[row]),
            truth=classes[slices.labels[row]],
            answer=classes[answers[row]],
            confidence=float(confidence[row]),
            truth_score=float(scores[row, slices.labels[row]]),
        )
        for row in rows
    )
