"""`make doctor`: ask a cluster for everything that a run needs, one line each; exit with 1 if a run would fail."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.doctor.cluster import Cluster
from components.doctor.connection import connect
from components.doctor.diagnosis import diagnose, lines, verdict
from components.doctor.examination import KUBEFLOW_NAMESPACE, Examination, Server, endpoint_of, usual_account
from components.doctor.needs import RunNeeds
from components.shared.errors import EXIT_FAILED, TaxonflowError
from pipelines.kubeflow.client import TOKEN_VARIABLE, read_token
from pipelines.presets import Preset, load_preset, preset_names
from pipelines.resources import cpu_resources
from pipelines.run_needs import models_claim, training_needs
from pipelines.submit import select_pipeline

_ANY_VOLUMES = "/volumes"
"""Source of a preset without phantoms; the needs of a run do not depend on it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lines; return 0, or 1 if a run would fail or no cluster can be asked."""
    options = parse_options(arguments)
    try:
        cluster = connect(options.context or None)
        examination = examine(options, cluster)
        _write(f"{title(options, examination)}\n\n")
        findings = diagnose(examination)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    _write(f"{lines(findings)}\n\n{verdict(findings)}\n")
    return EXIT_FAILED if any(finding.fails for finding in findings) else 0


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.doctor", description=__doc__)
    parser.add_argument("--host", default="", help="URL of Kubeflow Pipelines; empty: the server is not asked")
    parser.add_argument("--namespace", default="", help=f"namespace of the run (default: {KUBEFLOW_NAMESPACE})")
    parser.add_argument("--preset", default="sample", help=f"one of {', '.join(preset_names())} (default: %(default)s)")
    parser.add_argument("--resources", choices=("cpu",), help="the run without accelerators")
    parser.add_argument("--monitored-models", default="", help="claim or URL of the monitor's models, as for submit")
    parser.add_argument("--target", default="", help="kserve://namespace/service (default: the model's, in NAMESPACE)")
    parser.add_argument("--service-account", default="", help="account of the run's pods (default: that of Kubeflow)")
    parser.add_argument("--context", default="", help="context of the kubeconfig (default: the current one)")
    parser.add_argument("--token-file", type=Path, help=f"file with the bearer token (default: ${TOKEN_VARIABLE})")
    parser.add_argument("--ca", default="", help="file with the certificate authority of HOST")
    return parser.parse_args(arguments)


def examine(options: argparse.Namespace, cluster: Cluster) -> Examination:
    """Return the subject of the checks.

    Raises:
        BadConfigError: The preset is unknown, the target is invalid, or the token file cannot be read.
    """
    preset = load_preset(options.preset)
    namespace = options.namespace or KUBEFLOW_NAMESPACE
    name = str(preset.parameters.get("name", "foraminifera"))
    target = options.target or str(preset.parameters.get("target", ""))
    endpoint_namespace, endpoint = endpoint_of(target, namespace, name)
    token = read_token(options.token_file) or ""
    return Examination(
        cluster,
        namespace,
        options.service_account or usual_account(namespace),
        endpoint_namespace,
        endpoint,
        needs_of_run(preset, options.resources, options.monitored_models),
        Server(options.host, token, options.ca),
    )


def needs_of_run(preset: Preset, resources: str | None, monitored_models: str) -> RunNeeds:
    """Return the needs of the pipeline that `make submit` selects for a preset: the constant of its task doctor.

    Args:
        preset: Preset of the run.
        resources: Either "cpu" for a run without accelerators, or None for the preset's resources.
        monitored_models: Claim or URL in which the monitor finds the served models; empty for none.
    """
    name, _ = select_pipeline(preset, {} if preset.phantoms else {"volumes": _ANY_VOLUMES})
    task_resources = cpu_resources(preset.resources) if resources else preset.resources
    sizes = ("standard", "large") if name == "large_training" else ("standard",)
    return RunNeeds.model_validate(training_needs(task_resources, sizes, (models_claim(monitored_models),)))


def title(options: argparse.Namespace, examination: Examination) -> str:
    """Return the first line: what is asked."""
    endpoint = f"{examination.endpoint_namespace}/{examination.endpoint}" if examination.endpoint else "none"
    return (
        f"doctor: context {examination.cluster.context}, namespace {examination.namespace}, account "
        f"{examination.account}, endpoint {endpoint}, preset {options.preset}, host {options.host or 'none'}"
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
