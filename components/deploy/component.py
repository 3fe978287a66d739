"""The KFP components that end a training run: deploy the model, or say why not."""

from typing import NamedTuple

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def deploy(served: dsl.Input[dsl.Model], name: str, target: str, metrics: dsl.Output[dsl.Metrics]) -> NamedTuple(  # type: ignore[valid-type]
    "Deployed", [("version", int), ("address", str)]
):
    """Deploys a model that passed its gate.

    Args:
        served: The served model, the parent of its version folder.
        name: Name of the model, as in the endpoint's address.
        target: file:///folder/of/models or kserve://namespace/inference-service.
        metrics: What was deployed.

    Returns:
        The version's number and the address at which it is reached.
    """
    from pathlib import Path

    from components.deploy.targets import deploy_model
    from components.shared.errors import one_sentence

    with one_sentence("deploy"):
        done = deploy_model(Path(served.path), served.uri, name, target)
    metrics.log_metric("version", done.version)
    metrics.metadata["address"] = done.address
    print(f"[deploy] {name} version {done.version} is at {done.address}", flush=True)  # noqa: T201 the task's log
    return done.version, done.address


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
