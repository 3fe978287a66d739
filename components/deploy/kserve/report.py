"""Report of a rollout: its result, events and test statistics."""

import re
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
        notes: Sentences about records beside the endpoint.
    """

    events: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """Record an event and print it; a step that is repeated after a conflict leaves one event."""
        if sentence in self.events:
            return
        self.events.append(sentence)
        log("deploy", sentence)

    def note(self, sentence: str) -> None:
        """Record a sentence about a record beside the endpoint and print it."""
        self.notes.append(sentence)
        log("deploy", sentence)

    def record_test(self, test: SequentialTest) -> None:
        """Record the statistics of a sequential test."""
        self.tallies = dict(test.tallies)
        self.evidence = {criterion: test.evidence_of(criterion) for criterion in test.tallies}

    def metrics(self) -> dict[str, float]:
        """Return counts and evidence under flat names."""
        counts = {f"{name}_{count}": getattr(tally, count) for name, tally in self.tallies.items() for count in _COUNTS}
        return {**counts, **{f"{name}_evidence": round(value, 4) for name, value in self.evidence.items()}}

    def markdown(self) -> str:
        """Return the events, the notes and the comparison in Markdown."""
        events = ["## Events", "", *(f"- {_escape(event)}" for event in (*self.events, *self.notes)), ""]
        return "\n".join([*events, *(self._test_table() if self.tallies else [])])

    def _test_table(self) -> list[str]:
        rows = [
            f"| `{name}` | {tally.pairs} | {tally.worse} | {tally.better} | {self.evidence[name]:.3g} |"
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
        model_id: Id of the model of this version; "" for a model without one.
        cluster_address: Predict URL for clients in the cluster; "" outside of a cluster.
        commands: Commands that ask the endpoint from a machine with kubectl.
        reason: Reason of a rollback, as one sentence; "" without one.
    """

    version: int
    address: str
    log: RolloutLog
    outcome: str = "deployed"
    model_id: str = ""
    cluster_address: str = ""
    commands: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_new_model_served(self) -> bool:
        """Return whether users reach the new model."""
        return self.outcome == "deployed"

    def metrics(self) -> dict[str, float]:
        """Return version, counts and evidence under flat names."""
        return {"version": self.version, **self.log.metrics()}

    def sentence(self, name: str) -> str:
        """Return one sentence on the outcome: gate, canary, and what is served now.

        Args:
            name: Name of the model.
        """
        model = f" (model {self.model_id[:12]})" if self.model_id else ""
        service = f"version {self.version}{model} of {name} is served"
        if not self.is_new_model_served:
            service = service if self.version else f"no version of {name} is served"
            return f"The new model passed the gate but was rolled back, and {service}: {self.reason.rstrip('.')}."
        trial = " and its trial as a canary" if self.log.tallies else ""
        return f"The new model passed the gate{trial}, and {service}."

    def markdown(self, name: str) -> str:
        """Return the report on a model in Markdown."""
        title = f"# Deployment of {name}: {self.outcome.replace('_', ' ')}"
        return "\n".join([title, "", _escape(self.sentence(name)), "", *self._addresses(), self.log.markdown()])

    def _addresses(self) -> list[str]:
        """Return the lines about where the endpoint is asked; as code, which no line break divides."""
        places = [("Address", self.address), ("Address in the cluster", self.cluster_address)]
        lines = [f"- {label}: `{place}`" for label, place in places if place]
        if self.commands:
            lines += ["- From a machine with kubectl:", "", "```", *self.commands, "```"]
        return [*lines, ""]


def _escape(text: str) -> str:
    """Return a sentence in which Markdown renders no character specially."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)


class RolledBackError(DeployError):
    """The new model was worse or did not work, and the previous one is served.

    Args:
        reason: Reason of the rollback.
        result: Result with the version that is served.
    """

    def __init__(self, reason: str, result: RolloutResult) -> None:
        super().__init__(f"{reason.rstrip('.')}. Version {result.version} is still served")
        self.result = result
