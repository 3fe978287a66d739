"""Report of a rollout: its result, events and test statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.deploy.canary.sequential_test import BOUND, SequentialTest, Tally
from components.shared.errors import DeployError
from components.shared.progress import log

_COUNTS = ("worse", "better", "alike")


@dataclass
class RolloutLog:
    """Events of a rollout, also printed as log lines.

    Attributes:
        events: Sentences in order.
        tallies: Pairs of the sequential test by criterion.
        evidence: Evidence of the sequential test by criterion.
    """

    events: list[str] = field(default_factory=list)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """Record an event and print it."""
        self.events.append(sentence)
        log("deploy", sentence)

    def record_test(self, test: SequentialTest) -> None:
        """Record the statistics of a sequential test."""
        self.tallies = dict(test.tallies)
        self.evidence = {criterion: test.evidence_of(criterion) for criterion in test.tallies}

    def metrics(self) -> dict[str, float]:
        """Return counts and evidence under flat names."""
        counts = {f"{name}_{count}": getattr(tally, count) for name, tally in self.tallies.items() for count in _COUNTS}
        return {**counts, **{f"{name}_evidence": round(value, 4) for name, value in self.evidence.items()}}

    def markdown(self, title: str) -> str:
        """Return the report in Markdown."""
        events = ["## Events", "", *(f"- {event}" for event in self.events), ""]
        return "\n".join([f"# {title}", "", *events, *(self._test_table() if self.tallies else [])])

    def _test_table(self) -> list[str]:
        rows = [
            f"| {name} | {tally.pairs} | {tally.worse} | {tally.better} | {self.evidence[name]:.3g} |"
            for name, tally in self.tallies.items()
        ]
        header = ["| criterion | pairs | canary worse | canary better | evidence |", "|---|---|---|---|---|"]
        note = (
            f"The canary is worse in a criterion if its evidence exceeds {BOUND:g} "
            "(`components/deploy/canary/sequential_test.py`)."
        )
        return ["## Comparison of the canary with the stable model", "", *header, *rows, "", note, ""]


@dataclass(frozen=True)
class RolloutResult:
    """Result of a rollout: the version that users reach, and the log.

    Attributes:
        version: Number of the version.
        address: Predict URL, or the URI of the version folder in a local repository.
        log: Events and statistics.
        outcome: "deployed", or "rolled_back" if the previous version is served.
    """

    version: int
    address: str
    log: RolloutLog
    outcome: str = "deployed"

    def metrics(self) -> dict[str, float]:
        """Return version, counts and evidence under flat names."""
        return {"version": self.version, **self.log.metrics()}

    def markdown(self, name: str) -> str:
        """Return the report on a model in Markdown."""
        return self.log.markdown(f"Deployment of {name}: {self.outcome.replace('_', ' ')}")


class RolledBackError(DeployError):
    """The new model was worse or did not work, and the previous one is served.

    Args:
        reason: Reason of the rollback.
        result: Result with the version that is served.
    """

    def __init__(self, reason: str, result: RolloutResult) -> None:
        super().__init__(f"{reason.rstrip('.')}. Version {result.version} is still served")
        self.result = result
