"""Doctor as a task of a run: it examines the cluster from the run's own pod."""

from collections.abc import Mapping
from typing import Any

from components.doctor.cluster import Cluster
from components.doctor.connection import connect_from_pod
from components.doctor.diagnosis import diagnose, lines, markdown, verdict
from components.doctor.examination import Examination, account_of, endpoint_of
from components.doctor.needs import RunNeeds
from components.shared.config import checked
from components.shared.errors import TaxonflowError
from components.shared.progress import log


def check_run(needs: Mapping[str, Any], name: str, target: str) -> str:
    """Check what a run needs, and return the findings as Markdown.

    Args:
        needs: Fields of `RunNeeds`.
        name: Name of the model.
        target: Target of the deployment; empty for the InferenceService of the model's name in the run's namespace.

    Raises:
        BadConfigError: The needs or the target are invalid.
        TaxonflowError: A requirement of the run is not met.
    """
    run_needs = checked(RunNeeds, needs, "needs key")
    cluster, namespace = connect_from_pod()
    return check_namespace(cluster, namespace, run_needs, name, target)


def check_namespace(cluster: Cluster, namespace: str, needs: RunNeeds, name: str, target: str) -> str:
    """Check what a run in a namespace needs with the rights of this pod, and return the findings as Markdown.

    Raises:
        BadConfigError: The target is invalid.
        TaxonflowError: A requirement of the run is not met.
    """
    endpoint_namespace, endpoint = endpoint_of(target, namespace, name)
    account = account_of(cluster.user(), namespace)
    findings = diagnose(Examination(cluster, namespace, account, endpoint_namespace, endpoint, needs, in_pod=True))
    for line in lines(findings).splitlines():
        log("doctor", line)
    failures = [finding for finding in findings if finding.fails]
    if failures:
        problems = "; ".join(f"{finding.name}: {finding.sentence}" for finding in failures)
        remedy = f"Correct it with: {' ; '.join(dict.fromkeys(finding.command for finding in failures))}"
        raise TaxonflowError(f"the run would fail: {problems}", remedy=remedy)
    log("doctor", verdict(findings))
    return markdown(findings)
