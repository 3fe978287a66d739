"""The outcome of a run: whether its model is served, why not, and what is served at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.deploy.kserve.report import RolloutResult
from components.deploy.served_model import ServedModel
from components.shared.errors import DeployError

DEPLOYED, ROLLED_BACK, REFUSED = "deployed", "rolled_back", "refused"
NO_TRIAL = "no trial"
_HEADLINES = {DEPLOYED: "served", ROLLED_BACK: "not served, rolled back", REFUSED: "not served, rejected by the gate"}


@dataclass(frozen=True)
class Deployment:
    """Result of the deploy step.

    Attributes:
        outcome: "deployed", "rolled_back" or "refused".
        sentence: One sentence about the outcome.
        version: Number of the version that users reach; 0 if no model is served or it is not known.
        model_id: Id of the model of that version; empty if it is not known.
        address: URL at which users reach it; empty if it is not known.
        canary: Result of the trial beside the previous model.
        report: Report in Markdown.
        metrics: Numbers of the trial by name.
    """

    outcome: str
    sentence: str
    version: int
    model_id: str
    address: str
    canary: str
    report: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def deployment_of(name: str, result: RolloutResult) -> Deployment:
    """Describe the result of a rollout.

    Args:
        name: Name of the model.
        result: Result of the rollout.
    """
    pairs = max((tally.pairs for tally in result.log.tallies.values()), default=0)
    trial = f"{pairs:,} pairs of known slices" if pairs else NO_TRIAL
    promotion = f"promoted after {trial}" if pairs else NO_TRIAL
    return Deployment(
        outcome=result.outcome,
        sentence=result.sentence(name),
        version=result.version,
        model_id=result.model_id,
        address=result.address,
        canary=promotion if result.outcome == DEPLOYED else f"rolled back ({trial}): {result.reason}",
        report=result.markdown(name),
        metrics=result.metrics(),
    )


def refusal(name: str, reasons: str, served: ServedModel = ServedModel()) -> Deployment:  # noqa: B008 immutable
    """Describe a model that the gate rejected.

    Args:
        name: Name of the model.
        reasons: Reasons of the gate.
        served: Model that users reach.
    """
    reason = " ".join(reasons.split()) or "The gate gave no reason."
    sentence = f"{name}: the gate rejected the new model, and the endpoint was not changed. {reason}"
    report = f"# Not deployed\n\nThe gate rejected the model. {reason}\n\nThe endpoint was not changed.\n"
    return Deployment(REFUSED, sentence, served.version, served.model_id, served.address, NO_TRIAL, report)


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of a run, from its evaluation and its deployment.

    Attributes:
        name: Name of the model.
        model_id: Id of the new model; empty for a model without one.
        accuracy: Slice accuracy of the new model on the test specimens.
        interval: 95 % interval of the accuracy over specimens, as text.
        threshold: Slice accuracy that the gate requires.
        outcome: Outcome of the deployment.
        sentence: One sentence about the outcome.
        version: Number of the version that users reach; 0 if none or not known.
        served_model_id: Id of the model of that version; empty if it is not known.
        address: URL at which users reach it; empty if it is not known.
        canary: Result of the trial beside the previous model.
    """

    name: str
    model_id: str
    accuracy: float
    interval: str
    threshold: float
    outcome: str
    sentence: str
    version: int
    served_model_id: str
    address: str
    canary: str

    def metrics(self) -> dict[str, float]:
        """Return the numbers by which runs are compared."""
        return {
            "accuracy": round(self.accuracy, 6),
            "gate_passed": float(self.outcome != REFUSED),
            "served": float(self.outcome == DEPLOYED),
            "served_version": self.version,
        }

    def markdown(self) -> str:
        """Return the outcome for the Kubeflow UI."""
        gate = "rejected" if self.outcome == REFUSED else "passed"
        previous = "not changed by this run" if self.outcome == REFUSED else "no model"
        served_model = f", model `{self.served_model_id}`" if self.served_model_id else ""
        rows = {
            "gate": f"{gate}, slice accuracy {self.accuracy:.1%} ({self.threshold:.1%} required)",
            "95 % interval": f"{self.interval} (over specimens)",
            "canary": self.canary,
            "served now": f"version {self.version}{served_model}" if self.version else previous,
            "address": f"`{self.address}`" if self.address else "-",
            "new model": f"`{self.model_id}`" if self.model_id else "-",
        }
        table = [
            "| | |",
            "|---|---|",
            *(f"| {key} | {' '.join(value.replace('|', '/').split())} |" for key, value in rows.items()),
        ]
        headline = _HEADLINES.get(self.outcome, self.outcome)
        return "\n".join([f"# {self.name}: {headline}", "", self.sentence, "", *table, ""])


def check_served(outcome: str, sentence: str) -> None:
    """Check that the new model is served.

    Raises:
        DeployError: It is not; the message is the sentence.
    """
    if outcome != DEPLOYED:
        raise DeployError(sentence)
