"""Local copies of the model cards and reference profiles of a repository in an object store.

The repository has the layout `<model>/<version>/`. A version is copied once, its reference profile before its card, so
that `components.shared.model_repository.find_models` finds complete copies only. Keys and endpoints come from the
environment, as `components.shared.object_stores` reads them, or the store's own chain.
"""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.shared.errors import BadConfigError, ContractError
from components.shared.files import write_atomically
from components.shared.model_repository import CARD_FILE, version_folder
from components.shared.object_stores import minio_options, s3_options

REFERENCE_FILE = "reference.parquet"
MAX_BYTES = {REFERENCE_FILE: 512 * 2**20, CARD_FILE: 16 * 2**20}
"""Largest size of each file; they are copied in this order."""
MAX_MODELS, MAX_VERSIONS = 100, 20
"""Most models, and most versions of a model, the newest ones, of which a copy is kept."""
REFRESH_S = 30.0
_STORES: dict[str, Callable[[], dict[str, Any]]] = {"s3": s3_options, "minio": minio_options}
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def is_address(repository: str) -> bool:
    """Return whether a repository is an address such as `s3://bucket/prefix` and not a folder."""
    return bool(_ADDRESS.match(repository))


class ModelMirror:
    """A folder with copies of the newest versions in a repository.

    Args:
        address: Address of the repository, such as `s3://bucket/prefix`.
        folder: Folder of the copies; earlier copies in it are used again.
        clock: Function that returns seconds.

    Raises:
        BadConfigError: The kind of store is unknown, or its library is not installed.
    """

    def __init__(self, address: str, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address.rstrip("/")
        self._folder, self._clock, self._next_refresh = folder, clock, float("-inf")
        self._store, self._root = _open_store(self.address)

    def refresh(self) -> None:
        """Copy the versions that are new in the repository; no-op within REFRESH_S of the last call.

        Raises:
            ContractError: The store cannot be read, or a file is too large.
        """
        if self._clock() < self._next_refresh:
            return
        self._next_refresh = self._clock() + REFRESH_S
        try:
            models = [name for name in self._names(self._root) if _MODEL.fullmatch(name)]
            for model in models[:MAX_MODELS]:
                self._refresh_model(model)
        except (ContractError, BadConfigError):
            raise
        except Exception as error:  # each store's library raises errors of its own
            raise ContractError(
                f"{self.address} cannot be read ({_describe(error)})",
                f"a repository with <model>/<version>/{CARD_FILE}",
                "Check the address, the store and its keys.",
            ) from error

    def _refresh_model(self, model: str) -> None:
        versions = [name for name in self._names(f"{self._root}/{model}") if _VERSION.fullmatch(name)]
        newest = sorted(map(int, versions))[-MAX_VERSIONS:]
        for version in newest:
            folder = version_folder(self._folder, model, version)
            if not (folder / CARD_FILE).is_file():
                self._copy_version(f"{self._root}/{model}/{version}", folder)
        for folder in (self._folder / model).glob("*"):
            if folder.name.isdecimal() and int(folder.name) < min(newest, default=0):
                shutil.rmtree(folder, ignore_errors=True)

    def _copy_version(self, source: str, folder: Path) -> None:
        """Copy the files of a version if it has both of them; it may still be written."""
        sizes = {_basename(info["name"]): int(info["size"] or 0) for info in self._store.ls(source, detail=True)}
        if not MAX_BYTES.keys() <= sizes.keys():
            return
        for name, limit in MAX_BYTES.items():
            if sizes[name] > limit:
                raise ContractError(f"{self.address}: {source}/{name} has {sizes[name]} bytes", f"at most {limit}")
            write_atomically(folder / name, self._content(f"{source}/{name}", limit))

    def _content(self, path: str, limit: int) -> bytes:
        with self._store.open(path, "rb") as file:
            content = bytes(file.read(limit + 1))
        if len(content) > limit:
            raise ContractError(f"{self.address}: {path} has more than {limit} bytes", f"at most {limit}")
        return content

    def _names(self, path: str) -> list[str]:
        """Return the names of the folders in a folder; none if it does not exist yet."""
        try:
            infos = self._store.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return sorted(_basename(info["name"]) for info in infos if info["type"] == "directory")


def _open_store(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it."""
    import fsspec  # its libraries take a second to import, which a monitor of a folder does not need

    scheme, _, path = address.partition("://")
    protocol = "s3" if scheme in _STORES else scheme
    caches = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        store, root = fsspec.core.url_to_fs(f"{protocol}://{path}", **caches, **_options(scheme))
    except (ImportError, ValueError) as error:
        raise BadConfigError(
            f"--repository {address}: {error}", "a folder, or an address such as s3://bucket/prefix"
        ) from error
    return store, str(root).rstrip("/")


def _options(scheme: str) -> dict[str, Any]:
    """Return options with short time-outs, so that an unreachable store does not delay the reading of events."""
    if scheme not in _STORES:
        return {}
    options = _STORES[scheme]()
    client = {
        **options["config_kwargs"],
        "connect_timeout": 5,
        "read_timeout": 20,
        "retries": {"total_max_attempts": 2},
    }
    return {**options, "config_kwargs": client}


def _basename(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _describe(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:200]
