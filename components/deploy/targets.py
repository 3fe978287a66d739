"""Where a model can be deployed: one function for each scheme of a target's address."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from components.deploy import local_repository
from components.deploy.publication import Publication, open_publication
from components.shared.errors import BadConfigError


@dataclass(frozen=True)
class Deployed:
    """What users reach after a deployment.

    Attributes:
        version: the version's number, one more than the one before it.
        address: the version's folder in a local repository, the predict URL in a cluster.
    """

    version: int
    address: str


def _to_cluster(publication: Publication, address: SplitResult) -> tuple[int, str]:
    from components.deploy.kserve_target import roll_out  # kserve's client takes two seconds to import

    return roll_out(publication, address)


TARGETS: dict[str, Callable[[Publication, SplitResult], tuple[int, str]]] = {
    "file": local_repository.publish,
    "kserve": _to_cluster,
}


def deploy_model(served: Path, uri: str, name: str, target: str) -> Deployed:
    """Deploys a served model to a target.

    Args:
        served: the artifact's folder, the parent of the version folder.
        uri: the artifact's address in the run's artifact store.
        name: the model's name in the endpoint's address.
        target: `file:///folder/of/models` or `kserve://namespace/inference-service`.

    Raises:
        BadConfigError: the target has no known scheme or is incomplete.
        ContractError: the model card is missing or damaged.
        DeployError: the model must not or could not be deployed; what was served before is still served.
    """
    address = urlsplit(target)
    if address.scheme not in TARGETS:
        raise BadConfigError(
            f"target {target!r}", "file:///folder/of/models or kserve://namespace/inference-service", "Correct it."
        )
    publication = open_publication(served, uri, name)
    return Deployed(*TARGETS[address.scheme](publication, address))
