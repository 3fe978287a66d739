"""Container images that the nodes can pull: present on the nodes, or known to their registry."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus

import httpx

from components.doctor.cluster import NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, State, met, not_allowed, not_met
from components.shared.container_images import SERVING_IMAGE
from components.shared.proxies import uses_proxy

DEFAULT_REGISTRY = "registry-1.docker.io"
_TIMEOUT_S = 4.0
_MAX_TOKEN_BYTES = 2**20
_ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def images(examination: Examination) -> Answer:
    """Check that each image of the run and of the endpoint is on the nodes or in its registry."""
    names = sorted({pod.image for pod in examination.needs.pods} | ({SERVING_IMAGE} if examination.endpoint else set()))
    on_nodes = _images_on_nodes(examination)
    absent_images = [name for name in names if full_name(name) not in (on_nodes or ())]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(partial(_in_registry, is_on_no_node=on_nodes is not None), absent_images))
    for state in (State.NOT_MET, State.NOT_ALLOWED):
        problems = [answer for answer in answers if answer.state is state]
        if problems:
            sentence = "; ".join(dict.fromkeys(answer.sentence for answer in problems))
            return Answer(state, sentence, problems[0].command)
    places = [f"{len(names) - len(absent_images)} on the nodes", f"{len(absent_images)} in the registry"]
    return met(f"{', '.join(names)}: {', '.join(place for place in places if place[0] != '0')}")


def full_name(image: str) -> str:
    """Return the name of an image with its registry, as nodes report it."""
    registry, path = _registry_and_path(image)
    if registry == DEFAULT_REGISTRY:
        return f"docker.io/{path}"
    return f"{registry}/{path}"


def _registry_and_path(image: str) -> tuple[str, str]:
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = (DEFAULT_REGISTRY if first == "docker.io" else first), rest
    else:
        registry, path = DEFAULT_REGISTRY, image if slash else f"library/{image}"
    has_version = "@" in path or ":" in path.rpartition("/")[2]
    return registry, path if has_version else f"{path}:latest"


def _images_on_nodes(examination: Examination) -> set[str] | None:
    """Return the images that a node has; None if the nodes cannot be read."""
    try:
        nodes = examination.cluster.items("/api/v1/nodes") or []
    except NotAllowedError:
        return None
    names = [
        {name for image in (node.get("status") or {}).get("images") or [] for name in image.get("names") or []}
        for node in nodes
    ]
    return set().union(*names)


def _in_registry(image: str, is_on_no_node: bool) -> Answer:
    registry, path = _registry_and_path(image)
    push = f"make push REGISTRY={'registry.example.org' if registry == DEFAULT_REGISTRY else registry}"
    look = f"docker manifest inspect {image}"
    separator = "@" if "@" in path else ":"
    repository, _, version = path.rpartition(separator) if separator == ":" else path.partition("@")
    scheme = "http" if re.match(r"(localhost|127\.0\.0\.1)(:|$)", registry) else "https"
    url = f"{scheme}://{registry}/v2/{repository}/manifests/{version}"
    try:
        status = _status_of_manifest(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return not_allowed(f"{registry} cannot be reached from here ({type(error).__name__})", look)
    if status == HTTPStatus.OK:
        return met(image)
    if status == HTTPStatus.NOT_FOUND:
        return not_met(f"{registry} has no {repository}:{version}", push)
    if registry == DEFAULT_REGISTRY and repository.startswith("taxonflow/") and is_on_no_node:
        return not_met(f"{image} is on no node and names no registry", f"{push}; make submit REGISTRY=... HOST=...")
    return not_allowed(f"{registry} answers {status} for {image} without credentials", look)


def _status_of_manifest(url: str) -> int:
    """Return the status of a manifest, asked for with an anonymous token where the registry gives one."""
    headers = {"Accept": _ACCEPT}
    has_tls = url.startswith("https:")
    with httpx.Client(
        timeout=_TIMEOUT_S, trust_env=uses_proxy(url), follow_redirects=has_tls, verify=has_tls
    ) as client:
        response = client.head(url, headers=headers)
        challenge = response.headers.get("www-authenticate", "")
        if response.status_code == HTTPStatus.UNAUTHORIZED and challenge.lower().startswith("bearer "):
            token = _anonymous_token(client, dict(_CHALLENGE.findall(challenge)))
            if token:
                response = client.head(url, headers={**headers, "Authorization": f"Bearer {token}"})
        return response.status_code


def _anonymous_token(client: httpx.Client, challenge: dict[str, str]) -> str:
    realm = challenge.pop("realm", "")
    if not realm.startswith(("https://", "http://")):
        return ""
    response = client.get(realm, params={key: challenge[key] for key in ("service", "scope") if key in challenge})
    if response.status_code != HTTPStatus.OK or len(response.content) > _MAX_TOKEN_BYTES:
        return ""
    try:
        document = response.json()
    except ValueError:
        return ""
    return str(document.get("token") or document.get("access_token") or "") if isinstance(document, dict) else ""
