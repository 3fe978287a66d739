"""The gate: decides whether an evaluated model may be deployed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field

from components.shared.config import Frozen, checked
from components.shared.contracts import GateVerdict

Share = Annotated[float, Field(ge=0, le=1)]
_MOST_NAMES, _LONGEST_NAME = 10, 60


class GateConditions(Frozen):
    """Conditions besides the accuracy: the keys of the pipelines' parameter `gate`.

    Attributes:
        smallest_recall: Recall that every species must reach, 0..1.
        recall_by_species: Recall that the named species must reach, in place of `smallest_recall`.
        use_lower_bound: Whether the lower end of the accuracy's 95 % interval has to reach the threshold instead of the
            accuracy itself.
        fewest_test_specimens: Smallest number of test specimens that every species must have.
        specimens_for_floor: Smallest number of test specimens with which the recall of a species is checked; with
            fewer, a single specimen decides it. The verdict names the species that are not checked.
        champion: Folder of the served model that the new one is compared with on the same held-out slices: a version
            folder, or a folder of versions of which the highest is used; empty for no comparison.
        champion_margin: Difference of accuracy by which the new model may be worse than the champion.
    """

    smallest_recall: Share = 0.70
    recall_by_species: dict[str, Share] = Field(default_factory=dict)
    use_lower_bound: bool = False
    fewest_test_specimens: int = Field(default=1, ge=0)
    specimens_for_floor: int = Field(default=3, ge=0)
    champion: str = ""
    champion_margin: Share = 0.0


class GateConfig(GateConditions):
    """All conditions of the gate.

    Attributes:
        threshold: Smallest slice accuracy on the test specimens.
    """

    threshold: Share = 0.95

    @classmethod
    def parse(cls, threshold: float, conditions: Mapping[str, Any]) -> Self:
        """Check the pipelines' parameters `threshold` and `gate` and return the conditions.

        Raises:
            BadConfigError: A key is unknown or a value is invalid.
        """
        others = checked(GateConditions, conditions, "gate key")
        return checked(cls, {"threshold": threshold, **others.model_dump()}, "parameter")


@dataclass(frozen=True)
class Champion:
    """Result of the served model and of the new one on the same held-out slices.

    Attributes:
        source: Folder of the model, as in the gate's key `champion`.
        accuracy: Slice accuracy of the model; NaN if it could not be measured.
        problem: Reason why it could not be measured.
        p: P-value by specimen of the difference from the new model.
        split: Split of the slices.
        new_accuracy: Slice accuracy of the new model on these slices; None if it is the accuracy of the evidence.
    """

    source: str
    accuracy: float
    problem: str = ""
    p: float = float("nan")
    split: str = "test"
    new_accuracy: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Measurements that the gate checks; missing values count against the model.

    Attributes:
        species: All species of the model.
        accuracy: Slice accuracy of the ensemble on the test specimens, 0..1.
        lower_bound: Lower end of the accuracy's 95 % interval over specimens.
        upper_bound: Upper end of this interval.
        recall: Recall of each species on its test slices.
        test_specimens: Number of test specimens of each species.
        champion: Result of the served model, if it is compared.
        rare_species: Number of specimens of each trained species that is not tested, outside the floors of the gate.
        origin: Sentence on the models that were tested, if the served model is not the one that was tested.
    """

    species: tuple[str, ...]
    accuracy: float
    lower_bound: float = float("nan")
    upper_bound: float = float("nan")
    recall: Mapping[str, float] = field(default_factory=dict)
    test_specimens: Mapping[str, int] = field(default_factory=dict)
    champion: Champion | None = None
    rare_species: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""

    @property
    def tested_species(self) -> tuple[str, ...]:
        """Return the species of the model without the rare ones."""
        return tuple(name for name in self.species if name not in self.rare_species)


def apply_gate(evidence: Evidence, config: GateConfig) -> GateVerdict:
    """Check a model against all conditions; missing values and values that are not numbers fail.

    Args:
        evidence: Measurements on the test specimens.
        config: Conditions that the model has to meet.

    Returns:
        The verdict with its reasons as sentences.
    """
    failures = [
        *_untested_species(evidence),
        *_low_accuracy(evidence, config),
        *_low_recall(evidence, config),
        *_few_specimens(evidence, config),
        *_worse_than_champion(evidence, config),
    ]
    return GateVerdict(
        passed=not failures,
        accuracy=evidence.accuracy,
        threshold=config.threshold,
        reasons=(
            *(failures or _reasons_to_pass(evidence, config)),
            *_species_without_floor(evidence, config),
            *_rare_species(evidence),
            *filter(None, (evidence.origin,)),
        ),
    )


def _species_without_floor(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    """Yield a sentence on the species whose recall is not checked, since they have few test specimens."""
    counts = {
        name: evidence.test_specimens.get(name, 0)
        for name in evidence.tested_species
        if not _has_floor(name, evidence, config) and _smallest_recall(name, config) > 0
    }
    if counts:
        yield (
            f"Recall not checked, since they have fewer than {config.specimens_for_floor} test specimens: "
            f"{_counted_names(counts)}."
        )


def _has_floor(name: str, evidence: Evidence, config: GateConfig) -> bool:
    return evidence.test_specimens.get(name, 0) >= config.specimens_for_floor


def _smallest_recall(name: str, config: GateConfig) -> float:
    return config.recall_by_species.get(name, config.smallest_recall)


def _rare_species(evidence: Evidence) -> Iterator[str]:
    if evidence.rare_species:
        yield f"Not tested, since they have fewer than three specimens: {_counted_names(evidence.rare_species)}."


def _counted_names(counts: Mapping[str, int]) -> str:
    """Return names with their numbers as text of bounded length; the first ones in place of many."""
    return _joined([f"{_shortened(name)} ({count})" for name, count in counts.items()])


def _joined(names: Sequence[str]) -> str:
    others = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {others} more" if others > 0 else "")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."


def _untested_species(evidence: Evidence) -> Iterator[str]:
    tested_species = evidence.tested_species
    without_slices = [name for name in tested_species if not math.isfinite(evidence.recall.get(name, math.nan))]
    if without_slices or not tested_species:
        yield f"No test slices of {_joined([_shortened(name) for name in without_slices]) or 'any species'}."


def _low_accuracy(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    subject, value = _gated_accuracy(evidence, config)
    name = "lower bound of the accuracy" if config.use_lower_bound else "accuracy"
    if not math.isfinite(evidence.accuracy) or not math.isfinite(value):
        yield f"The {name} is not a number."
    elif not value >= config.threshold:
        text = f"{subject} is {_format_below(value, config.threshold)}{_interval_text(evidence, config)}"
        yield f"{text}; {config.threshold:.4f} is required."


def _interval_text(evidence: Evidence, config: GateConfig) -> str:
    """Return the interval of the accuracy as text; empty beside its lower bound, or if it was not measured."""
    low, high = evidence.lower_bound, evidence.upper_bound
    if config.use_lower_bound or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f" (95 % interval over specimens {low:.3f} to {high:.3f})"


def _gated_accuracy(evidence: Evidence, config: GateConfig) -> tuple[str, float]:
    """Return the name and the value of the accuracy that has to reach the threshold."""
    if config.use_lower_bound:
        return "The lower bound of the 95 % interval of the slice accuracy", evidence.lower_bound
    return "The slice accuracy", evidence.accuracy


def _low_recall(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    unknown = sorted(config.recall_by_species.keys() - set(evidence.species))
    if unknown:
        yield f"recall_by_species names {', '.join(unknown)}, which is not a species of the model."
    for name in evidence.tested_species:
        recall = evidence.recall.get(name, math.nan)
        smallest = _smallest_recall(name, config)
        if math.isfinite(recall) and not recall >= smallest and _has_floor(name, evidence, config):
            yield f"The recall of {name} is {_format_below(recall, smallest)}; {smallest:.4f} is required."


def _few_specimens(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    for name in evidence.tested_species:
        count = evidence.test_specimens.get(name, 0)
        if count < config.fewest_test_specimens:
            yield f"{name} has {count} test specimens; {config.fewest_test_specimens} are required."


def _worse_than_champion(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    champion = evidence.champion
    if not config.champion:
        return
    if champion is None or not math.isfinite(champion.accuracy):
        problem = champion.problem if champion else "it was not measured"
        yield f"The served model {config.champion} cannot be compared: {problem or 'no accuracy'}."
        return
    accuracy = evidence.accuracy if champion.new_accuracy is None else champion.new_accuracy
    if not accuracy >= champion.accuracy - config.champion_margin:
        yield (
            f"The served model is better on this {champion.split} set: {champion.accuracy:.4f}, the new one "
            f"{accuracy:.4f}, margin {config.champion_margin:.4f} (p = {champion.p:.3f} by specimen)."
        )


def _reasons_to_pass(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    subject, value = _gated_accuracy(evidence, config)
    yield f"{subject} is {value:.4f}{_interval_text(evidence, config)}; {config.threshold:.4f} is required."
    if champion := evidence.champion:
        new = "" if champion.new_accuracy is None else f", the new one {champion.new_accuracy:.4f}"
        yield f"The served model has an accuracy of {champion.accuracy:.4f} on the same {champion.split} set{new}."


def _format_below(value: float, minimum: float) -> str:
    """Return a value that is too low with enough digits to differ from the minimum."""
    digits = next((d for d in range(4, 17) if round(value, d) < round(minimum, d)), 17)
    return f"{value:.{digits}f}"
