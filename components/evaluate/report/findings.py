"""What a report tells, found from the ensemble's and the members' answers to the test slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from components.evaluate.comparisons import Comparison
from components.evaluate.ensemble.selection import Candidate
from components.evaluate.measurement import ENSEMBLE
from components.evaluate.model_selection import HeldOut
from components.evaluate.predictions import SplitSlices
from components.evaluate.report.unknown_curve import UnknownCurve
from components.shared import metrics
from components.shared.contracts import BackboneCard, ModelCard, SlicesInfo
from components.shared.metrics import Labels, Scores

MOST_MISTAKES, MOST_PAIRS, MISTAKES_PER_SPECIMEN = 12, 6, 2
RELIABILITY_BINS = 10

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class ModelFindings:
    """One model on the test slices.

    Attributes:
        name: of the backbone, or ENSEMBLE.
        accuracy: share of slices named right.
        top3: share of slices whose species is among the three best answers.
        macro_f1: mean F1 over the species.
        recall: float64 [K], NaN for a species without test slices.
        milliseconds: of network time for a slice in this evaluation.
    """

    name: str
    accuracy: float
    top3: float
    macro_f1: float
    recall: Shares
    milliseconds: float


@dataclass(frozen=True)
class SpeciesFindings:
    """The ensemble on one species: counts of its test slices and specimens, and what it is mostly taken for."""

    species: str
    specimens: int
    specimens_right: int
    slices: int
    recall: float
    precision: float
    f1: float
    taken_for: str
    taken_for_slices: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Test slices with a confidence in `low`..`high`: how many, how sure on average, and how often right."""

    low: float
    high: float
    slices: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ConfusedPair:
    """A species taken for another.

    Attributes:
        truth: the species it is.
        answer: the species it is taken for.
        slices: how often.
        specimens: in how many specimens.
        share: of the truth's test slices.
        row: the test slice with the highest confidence in the answer.
        like: a test slice of the answered species that is named right with the highest confidence, or None.
    """

    truth: str
    answer: str
    slices: int
    specimens: int
    share: float
    row: int
    like: int | None


@dataclass(frozen=True)
class Mistake:
    """A test slice that is named wrong: its row, id, specimen, both species and their scores."""

    row: int
    id: str
    specimen: str
    truth: str
    answer: str
    confidence: float
    truth_score: float


@dataclass(frozen=True)
class StageFindings:
    """A stage of a network's training.

    Attributes:
        network: its name.
        began_with: the weights, `random` where none were given.
        class_weights: of the loss.
        trained: which layers.
        epochs: how many.
        accuracy: on validation slices, in the epoch that the stage would keep.
        loss: the same epoch's.
    """

    network: str
    began_with: str
    class_weights: str
    trained: str
    epochs: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Provenance:
    """What a model was made of.

    Attributes:
        info: of the data set.
        members: of every backbone that was evaluated.
        digests: SHA-256 of each backbone's `model.keras`, by name.
        code: SHA-256 of the evaluating code.
        seed: of the permutations of the paired tests.
        material: what the specimens are, in words.
    """

    info: SlicesInfo
    members: tuple[BackboneCard, ...]
    digests: Mapping[str, str]
    code: str
    seed: int
    material: str


@dataclass(frozen=True)
class Findings:
    """All that a report tells, but for its pictures."""

    card: ModelCard
    models: tuple[ModelFindings, ...]
    species: tuple[SpeciesFindings, ...]
    confusion: NDArray[np.int64]
    reliability: tuple[ReliabilityBin, ...]
    pairs: tuple[ConfusedPair, ...]
    mistakes: tuple[Mistake, ...]
    provenance: Provenance
    unknown: UnknownCurve | None = None
    comparisons: tuple[Comparison, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def collect_findings(
    card: ModelCard,
    provenance: Provenance,
    test: HeldOut,
    scores: Scores,
    unknown: UnknownCurve | None = None,
    comparisons: Sequence[Comparison] = (),
    candidates: Sequence[Candidate] = (),
) -> Findings:
    """Finds all that a report tells.

    Args:
        card: of the served model.
        provenance: what it was made of.
        test: the test slices and what every backbone says about them.
        scores: of the ensemble, float32 [N, K].
        unknown: the curve of unseen species, where there are some.
        comparisons: paired tests between the models.
        candidates: the rules that were tried on validation.
    """
    slices, predictions = test.slices, test.predictions
    seconds = sum(predictions[name].seconds for name in card.members)
    members = [model_findings(name, said.logits, slices.labels, said.seconds) for name, said in predictions.items()]
    return Findings(
        card=card,
        models=(model_findings(ENSEMBLE, scores, slices.labels, seconds), *members),
        species=species_findings(card.classes, scores, slices),
        confusion=metrics.confusion(scores, slices.labels),
        reliability=reliability(scores, slices.labels),
        pairs=confused_pairs(card.classes, scores, slices),
        mistakes=worst_mistakes(card.classes, scores, slices),
        provenance=provenance,
        unknown=unknown,
        comparisons=tuple(comparisons),
        candidates=tuple(candidates),
    )


def model_findings(name: str, scores: Scores, labels: Labels, seconds: float) -> ModelFindings:
    """Measures one model.

    Args:
        name: of the backbone, or ENSEMBLE.
        scores: or logits, float32 [N, K].
        labels: int64 [N].
        seconds: that its networks worked on the N slices.
    """
    return ModelFindings(
        name=name,
        accuracy=metrics.accuracy(scores, labels),
        top3=metrics.top_accuracy(scores, labels),
        macro_f1=metrics.macro_f1(scores, labels),
        recall=metrics.recall_by_species(scores, labels),
        milliseconds=1000 * seconds / len(labels),
    )


def stages_of(card: BackboneCard) -> tuple[StageFindings, ...]:
    """Finds what each stage of a network's training reached."""
    weights, class_weights = (str(card.recipe.get(key, "none")) for key in ("weights", "class_weights"))
    monitor, given = card.recipe.get("monitor", "val_loss"), weights != "none"
    later = "the features, too" if given else "everything"
    found = []
    for phase, rows in groupby(card.history, key=lambda row: row.get("phase")):
        epochs = list(rows)
        best = min(epochs, key=lambda row: row["val_loss"] if monitor == "val_loss" else -row["val_accuracy"])
        trained = "the head" if phase == 1 else later
        figures = (trained, len(epochs), best["val_accuracy"], best["val_loss"])
        found.append(StageFindings(card.backbone, weights if given else "random", class_weights, *figures))
    return tuple(found)


def species_findings(classes: Sequence[str], scores: Scores, slices: SplitSlices) -> tuple[SpeciesFindings, ...]:
    """Measures the ensemble on each species, in the order of the labels."""
    matrix = metrics.confusion(scores, slices.labels)
    of_specimens = metrics.confusion(*metrics.votes_of_specimens(scores, slices.labels, slices.specimens))
    right, answered, truly = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    wrong = matrix - np.diag(right)
    return tuple(
        SpeciesFindings(
            species=species,
            specimens=int(of_specimens[label].sum()),
            specimens_right=int(of_specimens[label, label]),
            slices=int(truly[label]),
            recall=_share(right[label], truly[label]),
            precision=_share(right[label], answered[label]),
            f1=_share(2 * right[label], truly[label] + answered[label]),
            taken_for=classes[int(wrong[label].argmax())] if wrong[label].any() else "",
            taken_for_slices=int(wrong[label].max()),
        )
        for label, species in enumerate(classes)
    )


def _share(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else float("nan")


def reliability(scores: Scores, labels: Labels, bins: int = RELIABILITY_BINS) -> tuple[ReliabilityBin, ...]:
    """Groups slices by confidence (Guo et al. 2017, figure 1); empty bins are left out."""
    confidence = scores.max(axis=1).astype(np.float64)
    right = scores.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for number in np.unique(place):
        inside = place == number
        mean, share = float(confidence[inside].mean()), float(right[inside].mean())
        found.append(ReliabilityBin(number / bins, (number + 1) / bins, int(inside.sum()), mean, share))
    return tuple(found)


def confused_pairs(
    classes: Sequence[str], scores: Scores, slices: SplitSlices, most: int = MOST_PAIRS
) -> tuple[ConfusedPair, ...]:
    """Finds the pairs of species that are confused in most slices, most frequent first."""
    wrong = metrics.confusion(scores, slices.labels)
    totals = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(classes)) for place in order]
    return tuple(
        _pair(classes, scores, slices, truth, answer, int(totals[truth]))
        for truth, answer in places
        if wrong[truth, answer]
    )


def _pair(
    classes: Sequence[str], scores: Scores, slices: SplitSlices, truth: int, answer: int, total: int
) -> ConfusedPair:
    answered = scores.argmax(axis=1) == answer
    rows = np.flatnonzero(answered & (slices.labels == truth))
    right = np.flatnonzero(answered & (slices.labels == answer))
    return ConfusedPair(
        truth=classes[truth],
        answer=classes[answer],
        slices=len(rows),
        specimens=len(np.unique(slices.specimens[rows])),
        share=len(rows) / total,
        row=int(rows[scores[rows, answer].argmax()]),
        like=int(right[scores[right, answer].argmax()]) if len(right) else None,
    )


def worst_mistakes(
    classes: Sequence[str], scores: Scores, slices: SplitSlices, most: int = MOST_MISTAKES
) -> tuple[Mistake, ...]:
    """Finds the mistakes with the highest confidence, at most MISTAKES_PER_SPECIMEN of one specimen."""
    answers, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(answers != slices.labels)
    chosen: list[int] = []
    shown: dict[str, int] = {}
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist():
        specimen = str(slices.specimens[row])
        shown[specimen] = shown.get(specimen, 0) + 1
        if shown[specimen] <= MISTAKES_PER_SPECIMEN and len(chosen) < most:
            chosen.append(row)
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
        for row in chosen
    )
