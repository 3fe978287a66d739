"""Where a model can be deployed: one function for each scheme of a target's address."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from components.deploy import local
from components.deploy.canary.settings import DEFAULTS, CanarySettings
from components.deploy.kserve.report import RolledBackError, RolledOut, RollOutStory
from components.deploy.verified_model import Publication, open_publication
from components.shared.errors import BadConfigError


def _to_folder(publication: Publication, address: SplitResult, _: CanarySettings, __: Path | None) -> RolledOut:
    version, folder = local.publish(publication, address)
    return RolledOut(version, folder, RollOutStory([f"{publication.name} version {version} is at {folder}"]))


def _to_cluster(
    publication: Publication, address: SplitResult, settings: CanarySettings, data: Path | None
) -> RolledOut:
    from components.deploy.kserve.target import roll_out  # kserve's client takes two seconds to import

    try:
        return roll_out(publication, address, settings, data)
    except RolledBackError as error:  # a failed task would lose its report
        return error.still


TARGETS: dict[str, Callable[[Publication, SplitResult, CanarySettings, Path | None], RolledOut]] = {
    "file": _to_folder,
    "kserve": _to_cluster,
}


def deploy_model(
    served: Path,
    uri: str,
    name: str,
    target: str,
    settings: CanarySettings = DEFAULTS,
    data: Path | None = None,
) -> RolledOut:
    """Deploys a served model to a target.

    Args:
        served: the artifact's folder, the parent of the version folder.
        uri: the artifact's address in the run's artifact store.
        name: the model's name in the endpoint's address.
        target: `file:///folder/of/models` or `kserve://namespace/inference-service`.
        settings: how a cluster tries the model beside the one that it serves.
        data: the data set whose test slices the model is judged by there; None takes the model's own examples.

    Returns:
        What users reach now: the model, or the one before if the model was worse.

    Raises:
        BadConfigError: the target has no known scheme or is incomplete.
        ContractError: the model card is missing or damaged, or a file is not what was signed.
        DeployError: the model must not or could not be deployed; what was served before is still served.
    """
    address = parse_target(target)
    publication = open_publication(served, uri, name)
    return TARGETS[address.scheme](publication, address, settings, data)


def parse_target(target: str) -> SplitResult:
    """Splits a target's address.

    Raises:
        BadConfigError: it has no known scheme.
    """
    with suppress(ValueError):  # of brackets that are not closed
        address = urlsplit(target)
        if address.scheme in TARGETS:
            return address
    raise BadConfigError(
        f"target {target!r}", "file:///folder/of/models or kserve://namespace/inference-service", "Correct it."
    )
