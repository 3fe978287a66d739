"""What the test slices say about what was chosen: they are touched here, once, and nothing is chosen any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate.assessment import UnknownFindings, assess, assess_backbones
from components.evaluate.comparisons import Comparison, compare_models
from components.evaluate.model_selection import Choice, HeldOut, Source
from components.shared import metrics
from components.shared.metrics import Scores
from components.shared.slices import UNSEEN, read_index

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Measured:
    """What the test slices say.

    Attributes:
        scores: of the ensemble, float32 [N, K].
        confusion: int64 [K, K], rows are true species.
        recall: by species; NaN for one without test slices.
        metrics: of the ensemble, as the model card has them.
        backbones: metrics of each backbone alone.
        comparisons: of every two models, the ensemble among them.
        unknown: scores of known and unknown species.
        test: the test slices and what every member says about them.
    """

    scores: Scores
    confusion: NDArray[np.int64]
    recall: Mapping[str, float]
    metrics: Mapping[str, Any]
    backbones: Mapping[str, dict[str, float]]
    comparisons: Sequence[Comparison]
    unknown: UnknownFindings
    test: HeldOut


def measure_on_test(source: Source, choice: Choice, claim: float, seed: int) -> Measured:
    """Measures what was chosen on the test slices, and on those of species outside the model if there are any.

    Args:
        source: data set and members.
        choice: made on validation.
        claim: accuracy that shall be shown.
        seed: of the permutations of the paired tests.
    """
    test = source.predict("test")
    classes, labels = source.info.classes, test.slices.labels
    scores = choice.ensemble.scores(test.logits)
    confusion = metrics.confusion(scores, labels)
    unknown = _measure_unknown(source, choice, test)
    answers = {ENSEMBLE: scores, **test.logits}
    right = {name: values.argmax(axis=1) == labels for name, values in answers.items()}
    return Measured(
        scores=scores,
        confusion=confusion,
        recall=dict(zip(classes, metrics.species_table(confusion)["recall"].tolist(), strict=True)),
        metrics={
            **assess(scores, test.slices, classes, claim),
            **unknown.metrics(),
            "unknown_score": choice.unknown.words,
        },
        backbones=assess_backbones(test.logits, test.slices),
        comparisons=compare_models(right, test.slices.specimens, seed),
        unknown=unknown,
        test=test,
    )


def _measure_unknown(source: Source, choice: Choice, test: HeldOut) -> UnknownFindings:
    known = choice.unknown.of(choice.ensemble, test.predictions)
    if all(count.split != UNSEEN for count in source.info.counts):
        return UnknownFindings(choice.unknown.threshold, known)
    unseen = source.predict(UNSEEN)
    species = np.asarray(read_index(source.folder, UNSEEN, ("species",))["species"], dtype=str)
    return UnknownFindings(
        choice.unknown.threshold, known, choice.unknown.of(choice.ensemble, unseen.predictions), species
    )
