"""Hand-over of a served version to the drift monitor: `<models>/<name>/<version>/model.json` and its reference profile.

The place is a folder, in a cluster that of a claim which the monitor mounts too, or a URL of object storage. Each file
appears complete or not at all, and the model card, by which the monitor finds a version, appears last.
"""

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from components.deploy.object_storage import open_storage, request
from components.deploy.verified_model import VerifiedModel
from components.shared.errors import DeployError
from components.shared.files import write_atomically
from components.shared.model_repository import CARD_FILE, version_folder


def hand_over(model: VerifiedModel, version: int, monitored_models: str) -> str:
    """Write the model card and the reference profile of a version for the drift monitor, and return their folder.

    Args:
        model: Model that is about to be served.
        version: Number of the version.
        monitored_models: Existing folder, or its `file://` URL, or a URL such as `s3://bucket/prefix`.

    Raises:
        BadConfigError: The URL is incomplete or of an unknown protocol.
        DeployError: The folder does not exist, or the files cannot be written.
    """
    reference = PurePosixPath(model.card.reference)
    if reference.is_absolute() or ".." in reference.parts:
        raise DeployError(f"the model card names the reference {str(reference)!r}", "a file beside the card")
    if monitored_models.startswith("file://"):
        return _write_to_folder(model, version, Path(url2pathname(urlsplit(monitored_models).path)), str(reference))
    if "://" in monitored_models:
        return _write_to_storage(model, version, monitored_models, str(reference))
    return _write_to_folder(model, version, Path(monitored_models), str(reference))


def _write_to_folder(model: VerifiedModel, version: int, root: Path, reference: str) -> str:
    folder = version_folder(root, model.name, version)
    try:
        if not root.is_dir():
            raise DeployError(
                f"the folder {root} does not exist", "the folder of the monitor's models", "Mount its claim there."
            )
        for name in (reference, CARD_FILE):
            write_atomically(folder / name, (model.folder / name).read_bytes())
    except OSError as error:
        raise DeployError(
            f"version {version} cannot be handed over to the monitor in {folder} ({error.strerror or error})",
            remedy="Let the group 1000 write to the claim, and run the step again.",
        ) from error
    return str(folder)


def _write_to_storage(model: VerifiedModel, version: int, url: str, reference: str) -> str:
    files, root = open_storage(url)
    folder = f"{root}/{model.name}/{version}"
    address = f"{url.rstrip('/')}/{model.name}/{version}"
    for name in (reference, CARD_FILE):
        try:
            request(files.pipe_file, address, f"{folder}/{name}", (model.folder / name).read_bytes())
        except FileNotFoundError as error:
            raise DeployError(
                f"the bucket of {url} does not exist", remedy="Create it, and run the step again."
            ) from error
    return address
