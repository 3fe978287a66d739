"""Copies of served versions in object storage: `<root>/taxonflow/served/<namespace>/<service>/<version>/1/`.

`<root>` is the folder that holds the folder `v2/artifacts` of the runs: the bucket itself or, in a profile of Kubeflow,
`private-artifacts/<profile>/` in it, where the keys of the profile may write.

The artifact of a run may be deleted with the run, so an endpoint serves a copy that only the deploy step writes. The
verified local files are uploaded, `digests.json` last: a copy with it is complete. A copy that a killed step left is
repeated, and a complete copy of another model is never overwritten. Each copy is read back and its digest compared
before it is served. Models on a claim (`pvc://`) are served in place.
"""

import hashlib
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.deploy.object_storage import open_storage, request
from components.deploy.verified_model import VerifiedModel
from components.shared.contracts import DIGESTS_FILE
from components.shared.errors import DeployError
from components.shared.files import sha256_of_file
from components.shared.progress import log
from components.shared.signing import SIGNATURE_FILE

_PREFIX = "taxonflow/served"
_ARTIFACTS = "v2/artifacts/"
_KSERVE_SCHEMES = {"minio": "s3", "s3": "s3", "gs": "gs", "pvc": "pvc"}
_SERVED_IN_PLACE = ("pvc",)
_VERSION_FOLDER = "1"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def storage_uri(uri: str) -> str:
    """Return the URI of an artifact in the form that KServe's storage initializer reads.

    Raises:
        DeployError: The artifact is on a local disk or in a storage that KServe does not read.
    """
    parts = urlsplit(uri)
    scheme = _KSERVE_SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise DeployError(
            f"the cluster cannot read the model at {uri!r}",
            "minio://, s3://, gs:// or pvc://",
            "Run the pipeline in the cluster, or deploy to file:///folder/of/models.",
        )
    return f"{scheme}://{parts.netloc}{parts.path}"


def copy_uri(artifact_uri: str, namespace: str, service: str, version: int) -> str:
    """Return the URI from which KServe's storage initializer reads a version; for `pvc://` that of the artifact.

    It ends with a slash: KServe downloads every object whose name begins with the path, and `.../1` begins `.../10/1`.

    Args:
        artifact_uri: URI of the artifact in the run's artifact store.
        namespace: Namespace of the InferenceService.
        service: Name of the InferenceService.
        version: Number of the version.

    Raises:
        DeployError: The artifact is on a local disk or in a storage that KServe does not read.
    """
    uri = storage_uri(artifact_uri)
    parts = urlsplit(uri)
    if parts.scheme in _SERVED_IN_PLACE:
        return uri
    for name in (namespace, service):
        if not _NAME.fullmatch(name):
            raise DeployError(f"the name {name!r}", "small letters, digits, '.' and '-'", "Correct TARGET.")
    root = f"{parts.netloc}/{_folder_of_runs(parts.path)}"
    return f"{parts.scheme}://{root}{_PREFIX}/{namespace}/{service}/{version}/"


def _folder_of_runs(path: str) -> str:
    """Return the folder of a bucket that holds the artifacts of the runs, "" or with a slash at its end."""
    folder, separator, _ = path.lstrip("/").partition(_ARTIFACTS)
    return folder if separator and (not folder or folder.endswith("/")) else ""


def copy_version(model: VerifiedModel, namespace: str, service: str, version: int) -> str:
    """Copy a version to its place in the artifact's bucket unless it is there, check it, and return `copy_uri`.

    Args:
        model: Verified model with its local files.
        namespace: Namespace of the InferenceService.
        service: Name of the InferenceService.
        version: Number of the version.

    Raises:
        DeployError: The artifact is not in a storage that KServe reads, the storage does not answer or denies access,
            the place has another model, or the copy differs from the verified files.
    """
    uri = copy_uri(model.uri, namespace, service, version)
    scheme = urlsplit(model.uri).scheme
    if scheme in _SERVED_IN_PLACE:
        return uri
    files, path = open_storage(f"{scheme}://{uri.partition('://')[2]}")
    folder = f"{path}/{_VERSION_FOLDER}"
    if not _is_complete(files, uri, folder, model):
        log("deploy", f"version {version} is copied to {uri}")
        _upload(files, uri, path, model.folder)
    _verify(files, uri, path, model)
    return uri


def _is_complete(files: Any, uri: str, folder: str, model: VerifiedModel) -> bool:
    """Return whether the copy has its last file.

    Raises:
        DeployError: The copy is that of another model.
    """
    file = f"{folder}/{DIGESTS_FILE}"
    digests = model.folder / DIGESTS_FILE
    try:
        size = request(files.info, uri, file)["size"]
        is_same = size == digests.stat().st_size and request(files.cat_file, uri, file) == digests.read_bytes()
    except FileNotFoundError:
        return False
    if not is_same:
        raise DeployError(
            f"{uri} has another model",
            "no model, or the files of this one",
            "Remove the folder if no endpoint serves it, or deploy to another name.",
        )
    return True


def _upload(files: Any, uri: str, path: str, folder: Path) -> None:
    """Remove files that the version does not have, and upload all of its files, the digests last.

    Files of the same name that a killed step left are overwritten and not removed first, because the keys of a Kubeflow
    profile may not delete.
    """
    local = sorted(file for file in folder.rglob("*") if file.is_file())
    version_names = {f"{_VERSION_FOLDER}/{file.relative_to(folder).as_posix()}" for file in local}
    for name in sorted(set(_names_in(files, uri, path)) - version_names):
        request(files.rm_file, uri, f"{path}/{name}")
    for file in sorted(local, key=lambda file: file.name == DIGESTS_FILE and file.parent == folder):
        name = file.relative_to(folder).as_posix()
        try:
            request(files.put_file, uri, str(file), f"{path}/{_VERSION_FOLDER}/{name}")
        except FileNotFoundError as error:
            raise DeployError(
                f"the bucket of {uri} does not exist", remedy="Create it, and run the step again."
            ) from error


def _verify(files: Any, uri: str, path: str, model: VerifiedModel) -> None:
    """Read a copy back and compare its digest; also a file too many is an error, because KServe would download it.

    Raises:
        DeployError: The copy differs from the verified files.
    """
    digests = dict(_digests(files, uri, path))
    names = sorted(digests.keys() - {DIGESTS_FILE, SIGNATURE_FILE})
    digest = hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in names).encode()).hexdigest()
    if digest != model.digest:
        raise DeployError(
            f"the copy {uri} differs from the verified model",
            f"the digest {model.digest[:12]}",
            "Remove the folder if no endpoint serves it, and run the step again.",
        )


def _digests(files: Any, uri: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each file, relative to the version folder, and its SHA-256."""
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "file"
        for name in _names_in(files, uri, path):
            request(files.get_file, uri, f"{path}/{name}", str(local))
            yield posixpath.relpath(name, _VERSION_FOLDER), sha256_of_file(local)


def _names_in(files: Any, uri: str, path: str) -> list[str]:
    """Return the paths of all objects below a folder, relative to it."""
    try:
        infos = request(files.find, uri, path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(name.removeprefix(f"{path}/") for name, info in infos.items() if info["type"] == "file")
