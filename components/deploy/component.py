"""KFP components that end a training run: deploy the model, summarize the run, and fail if the model is not served."""

from typing import Any, NamedTuple

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def deploy(
    served: dsl.Input[dsl.Model],
    slices: dsl.Input[dsl.Dataset],
    gate_passed: bool,
    reasons: str,
    name: str,
    target: str,
    canary: dict[str, Any],
    registry: str,
    monitored_models: str,
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.Markdown],
) -> NamedTuple("Deployed", [  # type: ignore[valid-type]
    ("version", int), ("served_model_id", str), ("address", str), ("outcome", str), ("canary", str), ("sentence", str)
]):  # fmt: skip
    """Deploy a model that passed the gate. A rollback and a refusal succeed too: Kubeflow keeps no outputs of failures.

    Args:
        served: Served model, the parent of its version folder.
        slices: Data set of the evaluation; its held-out slices are sent to both models.
        gate_passed: Whether the model passed the gate; otherwise nothing is deployed.
        reasons: Reasons of the gate.
        name: Name of the model in the endpoint's URL.
        target: Target as in components/deploy/targets.py; empty for the model's service in the run's namespace.
        canary: Settings of the canary, as in components/deploy/canary/settings.py.
        registry: Address of a Kubeflow Model Registry; empty for none.
        monitored_models: Folder or URL in which the drift monitor finds the served versions; empty for none.
        metrics: Deployed version and the counts of the sequential test.
        report: Events of the rollout and their reasons, or those of the gate.

    Returns:
        The version that users reach, the id of its model, its URL, the outcome ("deployed", "rolled_back" or
        "refused"), the result of the trial, and one sentence about the outcome.
    """
    from pathlib import Path

    from components.deploy.canary.settings import CanaryTrial, read_settings
    from components.deploy.records import DeployRecords
    from components.deploy.run_outcome import deployment_of, refusal
    from components.deploy.served_model import served_model
    from components.deploy.target_address import resolve_target
    from components.deploy.targets import deploy_model
    from components.shared.errors import exit_on_error
    from components.shared.progress import log

    with exit_on_error("deploy"):
        if gate_passed:
            trial = CanaryTrial(read_settings(canary), Path(slices.path))
            records, place = DeployRecords(monitored_models, registry), resolve_target(target, name)
            deployment = deployment_of(name, deploy_model(Path(served.path), served.uri, name, place, trial, records))
        else:
            deployment = refusal(name, reasons, served_model(target, name))
    for key, value in deployment.metrics.items():
        metrics.log_metric(key, value)
    metrics.metadata.update(address=deployment.address, outcome=deployment.outcome)
    Path(report.path).write_text(deployment.report)
    log("deploy", deployment.sentence)
    endpoint = (deployment.version, deployment.model_id, deployment.address)
    return *endpoint, deployment.outcome, deployment.canary, deployment.sentence


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def outcome(
    name: str,
    model_id: str,
    accuracy: float,
    interval: str,
    threshold: float,
    outcome: str,
    sentence: str,
    version: int,
    served_model_id: str,
    address: str,
    canary: str,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Summarize the run: the gate, the canary, and what is served now.

    Args:
        name: Name of the model.
        model_id: Id of the new model; empty for a model without one.
        accuracy: Slice accuracy of the new model on the test specimens.
        interval: 95 % interval of the accuracy over specimens, as text.
        threshold: Slice accuracy that the gate requires.
        outcome: Outcome of the deployment, "deployed", "rolled_back" or "refused".
        sentence: One sentence about the outcome.
        version: Version that users reach now; 0 if none or not known.
        served_model_id: Id of the model of that version; empty if it is not known.
        address: URL at which users reach it.
        canary: Result of the trial beside the previous model.
        metrics: Accuracy, gate, and the served version.
        summary: The outcome in a table.
    """
    from pathlib import Path

    from components.deploy.run_outcome import RunOutcome
    from components.shared.progress import log

    endpoint = (version, served_model_id, address, canary)
    result = RunOutcome(name, model_id, accuracy, interval, threshold, outcome, sentence, *endpoint)
    for key, value in result.metrics().items():
        metrics.log_metric(key, value)
    Path(summary.path).write_text(result.markdown())
    log("outcome", sentence)


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def require_served(outcome: str, sentence: str) -> None:
    """Fail if the new model is not served, so that the run is failed in the list of runs.

    Args:
        outcome: Outcome of the deployment.
        sentence: One sentence about the outcome.
    """
    from components.deploy.run_outcome import check_served
    from components.shared.errors import exit_on_error

    with exit_on_error("require_served"):
        check_served(outcome, sentence)
