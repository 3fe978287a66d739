"""Copies of served versions, and their hand-over to the monitor, in a real object store."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.deploy import object_storage
from components.deploy.monitored_models import hand_over
from components.deploy.verified_model import VerifiedModel, verify_model
from components.deploy.version_copies import copy_version
from components.shared import object_stores
from components.shared.errors import DeployError
from components.shared.signing import verify_folder
from tests.deploy.handed_over import check_handed_over
from tests.object_store import ObjectStore

URI = "s3://runs/artifacts/a"
pytestmark = pytest.mark.slow  # the server takes seconds to start


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = ObjectStore(tmp_path_factory.mktemp("weed"))
    store.start()
    store.files().mkdir("runs")
    yield store
    store.kill()


@pytest.fixture
def service(tmp_path: Path) -> str:
    """Name of an InferenceService that no other test uses."""
    return f"forams-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture(autouse=True)
def environment(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the keys of the store."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    set_keys(monkeypatch, "lab", store.secret, store.endpoint)
    monkeypatch.setattr(object_storage, "FIRST_PAUSE_S", 0.001)


def set_keys(monkeypatch: pytest.MonkeyPatch, key: str, secret: str, endpoint: str) -> None:
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL", "REGION", "EC2_METADATA_DISABLED")
    for name, value in zip(names, (key, secret, endpoint, "us-east-1", "true"), strict=True):
        monkeypatch.setenv(f"AWS_{name}", value)


def verified(artifact: Path, uri: str = URI) -> VerifiedModel:
    return verify_model(artifact, uri, "foraminifera")


def copy_of(service: str) -> str:
    return f"s3://runs/taxonflow/served/lab/{service}/1/"


def is_there(files: Any, uri: str) -> bool:
    try:
        files.cat_file(uri)
    except FileNotFoundError:
        return False
    return True


def downloaded(store: ObjectStore, target: Path, service: str) -> Path:
    """Return the folder that KServe's storage initializer would make of a copy."""
    store.files().get(copy_of(service).removeprefix("s3://"), f"{target}/", recursive=True)
    return target


def test_a_copy_has_all_files_and_the_verified_digest(
    service: str, store: ObjectStore, artifact: Path, tmp_path: Path
) -> None:
    model = verified(artifact)
    assert copy_version(model, "lab", service, 1) == copy_of(service)
    folder = downloaded(store, tmp_path / "downloaded", service)
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert verify_folder(folder / "1", None) == model.digest


def test_the_same_version_is_not_uploaded_again(service: str, store: ObjectStore, artifact: Path) -> None:
    copy_version(verified(artifact), "lab", service, 1)
    before = store.files().find(copy_of(service), detail=True)
    copy_version(verified(artifact), "lab", service, 1)
    after = store.files().find(copy_of(service), detail=True)
    assert [info["LastModified"] for info in before.values()] == [info["LastModified"] for info in after.values()]


def test_a_copy_that_a_killed_step_left_is_repeated(
    service: str, store: ObjectStore, artifact: Path, tmp_path: Path
) -> None:
    folder = f"runs/taxonflow/served/lab/{service}/1/1"
    store.files().pipe_file(f"{folder}/saved_model.pb", b"half a gr")
    store.files().pipe_file(f"{folder}/variables/of another build", b"rest")
    model = verified(artifact)
    copy_version(model, "lab", service, 1)
    assert verify_folder(downloaded(store, tmp_path / "downloaded", service) / "1", None) == model.digest


COPY_IN_A_PROCESS = """
import sys
from pathlib import Path
from typing import Any
from components.deploy.verified_model import verify_model
from components.deploy.version_copies import copy_version
copy_version(verify_model(Path(sys.argv[1]), sys.argv[2], "foraminifera"), "lab", sys.argv[3], 1)
"""


def test_a_step_that_is_killed_while_copying_is_repeated(
    service: str, store: ObjectStore, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    model = verified(make_artifact("many", examples=200))
    process = subprocess.Popen([sys.executable, "-c", COPY_IN_A_PROCESS, str(model.folder.parent), URI, service])
    files, deadline = store.files(), time.monotonic() + 60
    while not is_there(files, f"{copy_of(service)}1/examples/0.png"):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert not is_there(files, f"{copy_of(service)}1/digests.json")
    copy_version(model, "lab", service, 1)
    assert verify_folder(downloaded(store, tmp_path / "downloaded", service) / "1", None) == model.digest


def test_a_copy_of_another_model_is_never_overwritten(service: str, make_artifact: Callable[..., Path]) -> None:
    copy_version(verified(make_artifact("a")), "lab", service, 1)
    with pytest.raises(DeployError, match=r"/1/ has another model.*if no endpoint serves it"):
        copy_version(verified(make_artifact("b")), "lab", service, 1)


@pytest.mark.parametrize("name", ["1/saved_model.pb", "1/added", "2/saved_model.pb"])
def test_a_copy_that_was_changed_is_not_served(service: str, store: ObjectStore, artifact: Path, name: str) -> None:
    copy_version(verified(artifact), "lab", service, 1)
    store.files().pipe_file(f"runs/taxonflow/served/lab/{service}/1/{name}", b"other")
    with pytest.raises(DeployError, match="differs from the verified model"):
        copy_version(verified(artifact), "lab", service, 1)


def test_no_right_outside_the_services_prefix_is_needed(
    service: str, store: ObjectStore, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_keys(monkeypatch, "deployer", store.secret, store.endpoint)
    assert copy_version(verified(artifact), "lab", service, 1) == copy_of(service)
    with pytest.raises(DeployError, match="cannot be read or written"):
        copy_version(verified(artifact), "other", service, 1)


def test_models_of_kubeflows_store_are_copied_within_it(
    service: str, store: ObjectStore, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(object_stores, "KUBEFLOW_STORE", store.endpoint)
    assert copy_version(verified(artifact, "minio://runs/artifacts/a"), "lab", service, 1) == copy_of(service)
    assert store.files().exists(f"{copy_of(service).removeprefix('s3://')}1/digests.json")


@pytest.mark.parametrize("failure", ["bucket", "guest", "secret", "server", "no keys"])
def test_an_unusable_store_is_one_sentence_without_secrets(
    service: str, failure: str, store: ObjectStore, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "s3://nowhere/a" if failure == "bucket" else URI
    key, secret, endpoint = {
        "guest": ("guest", store.secret, store.endpoint),
        "secret": ("lab", "wrong-secret-key", store.endpoint),
        "server": ("lab", store.secret, "http://127.0.0.1:9"),
        "no keys": ("", "", store.endpoint),
    }.get(failure, ("lab", store.secret, store.endpoint))
    set_keys(monkeypatch, key, secret, endpoint)
    for action in (
        lambda: copy_version(verified(artifact, uri), "lab", service, 1),
        lambda: hand_over(verified(artifact), 1, uri),
    ):
        with pytest.raises(DeployError, match=r"run the step again") as raised:
            action()
        assert not (secret and secret in str(raised.value))
        assert "\n" not in str(raised.value)


def test_the_monitor_gets_card_and_profile_from_a_store(store: ObjectStore, artifact: Path, tmp_path: Path) -> None:
    address = hand_over(verified(artifact), 7, "s3://runs/models/")
    assert address == "s3://runs/models/foraminifera/7"
    store.files().get("runs/models/", f"{tmp_path}/models/", recursive=True)
    check_handed_over(tmp_path / "models", artifact)
