"""The gate: whether an evaluated model may reach users."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field

from components.shared.config import Frozen, checked
from components.shared.contracts import GateVerdict

Share = Annotated[float, Field(ge=0, le=1)]


class GateConditions(Frozen):
    """What the gate asks for besides the accuracy: the keys of the pipelines' parameter `gate`.

    Attributes:
        smallest_recall: share of every species' test slices that must be recognised.
        recall_by_species: another floor for some species.
        use_lower_bound: whether the lower end of the accuracy's 95 % interval must reach the threshold, not the
            accuracy itself.
        fewest_test_specimens: test specimens that every species must have.
        champion: the model now served, that the new one must not be worse than on the same test slices: a version
            folder, or a folder of versions of which the highest counts; empty for none.
        champion_margin: by how much accuracy the new model may be worse.
    """

    smallest_recall: Share = 0.70
    recall_by_species: dict[str, Share] = Field(default_factory=dict)
    use_lower_bound: bool = False
    fewest_test_specimens: int = Field(default=1, ge=0)
    champion: str = ""
    champion_margin: Share = 0.0


class GateConfig(GateConditions):
    """All that the gate asks for.

    Attributes:
        threshold: slice accuracy to reach on the test specimens.
    """

    threshold: Share = 0.95

    @classmethod
    def parse(cls, threshold: float, conditions: Mapping[str, Any]) -> Self:
        """Checks the pipelines' parameters `threshold` and `gate`.

        Raises:
            BadConfigError: an unknown key or an impossible value.
        """
        given = checked(GateConditions, conditions, "gate key")
        return checked(cls, {"threshold": threshold, **given.model_dump()}, "parameter")


@dataclass(frozen=True)
class Champion:
    """How the model now served does on the same test slices.

    Attributes:
        source: where it is.
        accuracy: its slice accuracy; NaN if it could not be asked.
        problem: why it could not be asked.
        p: p-value of the difference by specimen.
    """

    source: str
    accuracy: float
    problem: str = ""
    p: float = float("nan")


@dataclass(frozen=True)
class Evidence:
    """What the gate judges; whatever is missing counts against the model.

    Attributes:
        species: all that the model can name.
        accuracy: slice accuracy of the ensemble on the test specimens, 0..1.
        lower_bound: lower end of its 95 % interval.
        recall: share of each species' test slices that were recognised.
        test_specimens: how many test specimens each species has.
        champion: the model now served, if it is to be compared.
    """

    species: tuple[str, ...]
    accuracy: float
    lower_bound: float = float("nan")
    recall: Mapping[str, float] = field(default_factory=dict)
    test_specimens: Mapping[str, int] = field(default_factory=dict)
    champion: Champion | None = None


def judge(evidence: Evidence, config: GateConfig) -> GateVerdict:
    """Judges a model; whatever is missing or not a number fails.

    Args:
        evidence: what was measured on the test specimens.
        config: what is asked for.

    Returns:
        The verdict with its reasons in sentences.
    """
    against = [
        *_untested(evidence),
        *_too_inaccurate(evidence, config),
        *_badly_recognised(evidence, config),
        *_too_few_specimens(evidence, config),
        *_worse_than_champion(evidence, config),
    ]
    return GateVerdict(
        passed=not against,
        accuracy=evidence.accuracy,
        threshold=config.threshold,
        reasons=tuple(against or _praise(evidence, config)),
    )


def _untested(evidence: Evidence) -> Iterator[str]:
    unknown = [name for name in evidence.species if not math.isfinite(evidence.recall.get(name, math.nan))]
    if unknown or not evidence.species:
        yield f"No test slices of {', '.join(unknown) or 'any species'}."


def _too_inaccurate(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    reached = evidence.lower_bound if config.use_lower_bound else evidence.accuracy
    what = "lower bound of the accuracy" if config.use_lower_bound else "accuracy"
    if not math.isfinite(evidence.accuracy) or not math.isfinite(reached):
        yield f"The {what} is not a number."
    elif not reached >= config.threshold:
        found = f"{_short(reached, config.threshold)} of the {config.threshold:.4f} slice accuracy required"
        where = ", at the lower bound of the 95 % interval" if config.use_lower_bound else ""
        yield f"The ensemble reaches {found}{where}."


def _badly_recognised(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    strangers = sorted(config.recall_by_species.keys() - set(evidence.species))
    if strangers:
        yield f"A floor is set for {', '.join(strangers)}, which the model does not know."
    for name in evidence.species:
        recall, floor = evidence.recall.get(name, math.nan), config.recall_by_species.get(name, config.smallest_recall)
        if math.isfinite(recall) and not recall >= floor:
            yield f"{_short(recall, floor)} of the test slices of {name} are recognised; {floor:.4f} is required."


def _too_few_specimens(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    for name in evidence.species:
        count = evidence.test_specimens.get(name, 0)
        if count < config.fewest_test_specimens:
            yield f"{name} has {count} test specimens; {config.fewest_test_specimens} are required."


def _worse_than_champion(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    champion = evidence.champion
    if not config.champion:
        return
    if champion is None or not math.isfinite(champion.accuracy):
        problem = champion.problem if champion else "it was not asked"
        yield f"The model now served, {config.champion}, cannot be compared: {problem or 'no accuracy'}."
    elif not evidence.accuracy >= champion.accuracy - config.champion_margin:
        yield (
            f"The model now served is better on this test set: {champion.accuracy:.4f}, the new one "
            f"{evidence.accuracy:.4f}, margin {config.champion_margin:.4f} (p = {champion.p:.3f} by specimen)."
        )


def _praise(evidence: Evidence, config: GateConfig) -> Iterator[str]:
    reached = evidence.lower_bound if config.use_lower_bound else evidence.accuracy
    yield f"The ensemble reaches {reached:.4f}; {config.threshold:.4f} is required."
    if evidence.champion:
        yield f"The model now served reaches {evidence.champion.accuracy:.4f} on the same test set."


def _short(value: float, required: float) -> str:
    """Writes a value that is too low with enough digits to look so."""
    digits = next((d for d in range(4, 17) if round(value, d) < round(required, d)), 17)
    return f"{value:.{digits}f}"
