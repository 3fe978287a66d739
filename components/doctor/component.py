"""The KFP component of the first step: ask the cluster for what the run needs."""

from typing import Any

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def doctor(needs: dict[str, Any], name: str, target: str, report: dsl.Output[dsl.Markdown]) -> None:
    """Check the cluster before the run; fail in one sentence that lists what is not met.

    Args:
        needs: Pods and claims of the run, as in components/doctor/needs.py; a constant of the compiled pipeline.
        name: Name of the model in the endpoint's URL.
        target: Target of the deployment; empty for the InferenceService of the model's name in the run's namespace.
        report: One line for each check.
    """
    from pathlib import Path

    from components.doctor.in_cluster import check_run
    from components.shared.errors import exit_on_error

    with exit_on_error("doctor"):
        Path(report.path).write_text(check_run(needs, name, target))
