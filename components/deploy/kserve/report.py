"""What a roll-out did and why, for the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.deploy.canary.sequential_test import BOUND, CanaryJudge, Tally
from components.shared.errors import DeployError


@dataclass
class RollOutStory:
    """Collects what happened; lines of a log as well.

    Attributes:
        events: sentences in order.
        tallies: the judge's pairs by criterion.
        evidence: the judge's evidence by criterion.
    """

    events: list[str] = field(default_factory=list)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    def tell(self, sentence: str) -> None:
        """Adds an event and logs it."""
        self.events.append(sentence)
        print(f"[deploy] {sentence}", flush=True)  # noqa: T201 the task's log

    def heard(self, judge: CanaryJudge) -> None:
        """Keeps the judge's counts."""
        self.tallies = dict(judge.tallies)
        self.evidence = {criterion: judge.evidence_of(criterion) for criterion in judge.tallies}

    def metrics(self) -> dict[str, float]:
        """Returns the counts and the evidence under flat names."""
        named = {f"{name}_{count}": getattr(tally, count) for name, tally in self.tallies.items() for count in _COUNTS}
        return {**named, **{f"{name}_evidence": round(value, 4) for name, value in self.evidence.items()}}

    def markdown(self, title: str) -> str:
        """Returns the report."""
        rows = [
            f"| {name} | {tally.pairs} | {tally.worse} | {tally.better} | {self.evidence[name]:.3g} |"
            for name, tally in self.tallies.items()
        ]
        head = ["| canary | pairs | worse | better | evidence |", "|---|---|---|---|---|"]
        note = (
            f"The canary is worse where the evidence exceeds {BOUND:g} (`components/deploy/canary/sequential_test.py`)."
        )
        table = [*head, *rows, "", note, ""] if rows else []
        return "\n".join([f"# {title}", "", *(f"- {event}" for event in self.events), "", *table])


@dataclass(frozen=True)
class RolledOut:
    """What users reach after a roll-out.

    Attributes:
        version: the version's number.
        address: the predict URL.
        story: what happened.
        outcome: "deployed", or "rolled_back" where it is the model from before.
    """

    version: int
    address: str
    story: RollOutStory
    outcome: str = "deployed"

    def metrics(self) -> dict[str, float]:
        """Returns the version, the counts and the evidence under flat names."""
        return {"version": self.version, **self.story.metrics()}

    def markdown(self, name: str) -> str:
        """Returns the report on the model of a name."""
        return self.story.markdown(f"{name}: {self.outcome.replace('_', ' ')}")


class RolledBackError(DeployError):
    """The new model was worse, or did not work, and the one before is served.

    Args:
        reason: why.
        still: what is served, with the story.
    """

    def __init__(self, reason: str, still: RolledOut) -> None:
        super().__init__(f"{reason.rstrip('.')}. Version {still.version} is still served")
        self.still = still


_COUNTS = ("worse", "better", "alike")
