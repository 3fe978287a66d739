"""KFP components that end a training run: deploy the model, or report why the gate rejected it."""

from typing import Any, NamedTuple

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def deploy(
    served: dsl.Input[dsl.Model],
    slices: dsl.Input[dsl.Dataset],
    name: str,
    target: str,
    canary: dict[str, Any],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.Markdown],
) -> NamedTuple("Deployed", [("version", int), ("address", str), ("outcome", str)]):  # type: ignore[valid-type]
    """Deploy a model that passed the gate. A model that is worse than the current one is rolled back.

    Args:
        served: Served model, the parent of its version folder.
        slices: Data set of the evaluation; its test slices are sent to both models.
        name: Name of the model in the endpoint's URL.
        target: Either file:///folder/of/models or kserve://namespace/inference-service.
        canary: Settings of the canary, as in components/deploy/canary/settings.py.
        metrics: Deployed version and the counts of the sequential test.
        report: Events of the rollout and their reasons.

    Returns:
        The version that users reach now, its URL, and "deployed" or "rolled_back".
    """
    from pathlib import Path

    from components.deploy.canary.settings import CanaryTrial, read_settings
    from components.deploy.targets import deploy_model
    from components.shared.errors import exit_on_error
    from components.shared.progress import log

    with exit_on_error("deploy"):
        trial = CanaryTrial(read_settings(canary), Path(slices.path))
        result = deploy_model(Path(served.path), served.uri, name, target, trial)
    for key, value in result.metrics().items():
        metrics.log_metric(key, value)
    metrics.metadata.update(address=result.address, outcome=result.outcome)
    Path(report.path).write_text(result.markdown(name))
    log("deploy", f"{result.outcome}: {name} version {result.version} is at {result.address}")
    return result.version, result.address, result.outcome


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def refuse(reasons: str, report: dsl.Output[dsl.Markdown]) -> None:
    """Report why the gate rejected a model.

    Args:
        reasons: Reasons of the gate, one sentence per line.
        report: The same reasons for the Kubeflow UI.
    """
    from pathlib import Path

    from components.shared.progress import log

    lines = [line.strip() for line in reasons.splitlines() if line.strip()] or ["the gate gave no reason"]
    items = "\n".join(f"- {line}" for line in lines)
    Path(report.path).write_text(
        f"# Not deployed\n\nThe gate rejected the model:\n\n{items}\n\nThe endpoint serves the previous version.\n"
    )
    for line in lines:
        log("refuse", line)
