"""An object store with the phantoms in a bucket."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import ObjectStore


@pytest.fixture(scope="module")
def store(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Start an object store with the phantoms as `set/` in the bucket `lab`."""
    store = ObjectStore(tmp_path_factory.mktemp("weed"))
    store.start()
    files = store.files()
    files.mkdir("lab")
    for file in sorted(phantoms.rglob("*")):
        if file.is_file() and "masks" not in file.parts:
            files.put_file(str(file), f"lab/set/{file.relative_to(phantoms).as_posix()}")
    yield store
    store.kill()


@pytest.fixture
def store_environment(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the address and the keys of the store in the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    settings = {
        "ENDPOINT_URL": store.endpoint,
        "ACCESS_KEY_ID": "lab",
        "SECRET_ACCESS_KEY": store.secret,
        "REGION": "us-east-1",
    }
    for name, value in {**settings, "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
