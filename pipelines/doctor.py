"""`make doctor`: ask a cluster for everything that a run needs, one line each; exit with 1 if a run would fail."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from components.doctor.cluster import Cluster
from components.doctor.connection import connect
from components.doctor.diagnosis import diagnose, lines, verdict
from components.doctor.examination import KUBEFLOW_NAMESPACE, Examination, Server, endpoint_of, usual_account
from components.doctor.needs import RunNeeds
from components.shared.errors import EXIT_FAILED, BadConfigError, TaxonflowError
from pipelines.kubeflow.client import TOKEN_VARIABLE, Credentials, read_token
from pipelines.kubeflow.host import find_server
from pipelines.placement import add_placement_options, checked_place, placed_resources
from pipelines.presets import Preset, load_preset, preset_names
from pipelines.resources import TrainingResources
from pipelines.run_needs import training_needs
from pipelines.submit import select_pipeline

_ANY_VOLUMES = "/volumes"
"""Source of a preset without phantoms; the needs of a run do not depend on it."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lines; return 0, or 1 if a run would fail or no cluster can be asked."""
    options = parse_options(arguments)
    try:
        check_names(options)
        examination = examine(options, connect(options.context or None))
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
    add_placement_options(parser)
    parser.add_argument("--target", default="", help="kserve://namespace/service (default: the model's, in NAMESPACE)")
    parser.add_argument("--service-account", default="", help="account of the run's pods (default: that of Kubeflow)")
    parser.add_argument("--context", default="", help="context of the kubeconfig (default: the current one)")
    parser.add_argument("--token-file", type=Path, help=f"file with the bearer token (default: ${TOKEN_VARIABLE})")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates of the server's authority in PEM")
    return parser.parse_args(arguments)


def check_names(options: argparse.Namespace) -> None:
    """Check the names that become parts of the API's paths.

    Raises:
        BadConfigError: The namespace or the account cannot be the name of an object in a cluster.
    """
    for option, name in (("namespace", options.namespace), ("service-account", options.service_account)):
        if name and not _NAME.fullmatch(name):
            variable = {"namespace": "NAMESPACE", "service-account": "ACCOUNT"}[option]
            raise BadConfigError(
                f"--{option} {name!r}", "small letters, digits, '-' and '.'", f"Correct {variable} or --{option}."
            )


def examine(options: argparse.Namespace, cluster: Cluster) -> Examination:
    """Return the subject of the checks.

    Raises:
        BadConfigError: The preset is unknown, the target, HOST or the place of the monitor's models is invalid, or the
            file of the token or of the certificates cannot be read.
    """
    preset = load_preset(options.preset)
    namespace = options.namespace or KUBEFLOW_NAMESPACE
    name = str(preset.parameters.get("name", "foraminifera"))
    target = options.target or str(preset.parameters.get("target", ""))
    endpoint_namespace, endpoint = endpoint_of(target, namespace, name)
    place = checked_place(options.monitored_models)
    return Examination(
        cluster,
        namespace,
        options.service_account or usual_account(namespace),
        endpoint_namespace,
        endpoint,
        needs_of_run(preset, placed_resources(preset, options), place),
        server_of(options.host, Credentials(read_token(options.token_file), options.namespace or None, options.ca)),
    )


def server_of(host: str, credentials: Credentials) -> Server:
    """Return the server at the address at which `make submit` finds it; at the given one where none answers as such.

    Raises:
        BadConfigError: The address is not a URL, or the proxy or the certificates cannot be used.
    """
    url = host
    try:
        url = find_server(host, credentials).url if host else ""
    except BadConfigError:
        raise
    except TaxonflowError:  # the lines about the server say what is wrong
        pass
    return Server(url, credentials.token or "", str(credentials.authority or ""))


def needs_of_run(preset: Preset, resources: TrainingResources, monitored_models: str) -> RunNeeds:
    """Return the needs of the pipeline that `make submit` selects for a preset: the constant of its task doctor.

    Args:
        preset: Preset of the run.
        resources: Resources of the tasks.
        monitored_models: Claim or URL in which the monitor finds the served models; empty for none.
    """
    name, _ = select_pipeline(preset, {} if preset.phantoms else {"volumes": _ANY_VOLUMES})
    sizes = ("standard", "large") if name == "large_training" else ("standard",)
    claims = () if "://" in monitored_models else (monitored_models,)
    return RunNeeds.model_validate(training_needs(resources, sizes, claims))


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
