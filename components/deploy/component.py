"""The KFP components that end a training run: deploy the model, or say why not."""

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
    """Deploys a model that passed its gate. One that is worse than the served model is rolled back.

    Args:
        served: The served model, the parent of its version folder.
        slices: The data set that it was evaluated on, whose test slices it is judged by.
        name: Name of the model, as in the endpoint's address.
        target: file:///folder/of/models or kserve://namespace/inference-service.
        canary: How it is tried, as in components/deploy/canary/settings.py.
        metrics: What was deployed, and the judge's counts.
        report: What happened and why.

    Returns:
        The version that users reach now, its address, and "deployed" or "rolled_back".
    """
    from pathlib import Path

    from components.deploy.canary.settings import read_settings
    from components.deploy.targets import deploy_model
    from components.shared.errors import exit_on_error

    with exit_on_error("deploy"):
        done = deploy_model(Path(served.path), served.uri, name, target, read_settings(canary), Path(slices.path))
    for key, value in done.metrics().items():
        metrics.log_metric(key, value)
    metrics.metadata.update(address=done.address, outcome=done.outcome)
    Path(report.path).write_text(done.markdown(name))
    print(f"[deploy] {done.outcome}: {name} version {done.version} is at {done.address}", flush=True)  # noqa: T201 the task's log
    return done.version, done.address, done.outcome


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def refuse(reasons: str, report: dsl.Output[dsl.Markdown]) -> None:
    """Says why a model was not deployed.

    Args:
        reasons: Why the gate refused it, one sentence a line.
        report: The same for the UI.
    """
    from pathlib import Path

    lines = [line.strip() for line in reasons.splitlines() if line.strip()] or ["the gate gave no reason"]
    text = "\n".join(f"- {line}" for line in lines)
    Path(report.path).write_text(
        f"# Not deployed\n\nThe gate refused the model:\n\n{text}\n\nWhat was served before is still served.\n"
    )
    for line in lines:
        print(f"[refuse] {line}", flush=True)  # noqa: T201 the task's log
