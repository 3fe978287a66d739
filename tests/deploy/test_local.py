"""Local model repository: complete versions only, each published once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.targets import deploy_model
from components.shared.errors import BadConfigError, ContractError, DeployError
from components.shared.model_repository import version_numbers
from components.shared.signing import sign_folder

PUBLISH = (
    "import sys; from pathlib import Path; from components.deploy.targets import deploy_model;"
    "print(deploy_model(Path(sys.argv[1]), sys.argv[1], 'foraminifera', sys.argv[2]).version)"
)


def publish(artifact: Path, models: Path, name: str = "foraminifera") -> int:
    return deploy_model(artifact, str(artifact), name, models.as_uri()).version


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_published_completely_as_version_1(artifact: Path, tmp_path: Path) -> None:
    result = deploy_model(artifact, str(artifact), "foraminifera", (tmp_path / "models").as_uri())
    folder = tmp_path / "models" / "foraminifera" / "1"
    assert result.version == 1
    assert result.address == folder.as_uri()
    assert contents(folder) == contents(artifact / "1")


def test_the_next_model_gets_the_next_number_and_the_old_one_remains(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    old, new = make_artifact("old"), make_artifact("new")
    assert [publish(old, models), publish(new, models)] == [1, 2]
    assert contents(models / "foraminifera" / "1") == contents(old / "1")
    assert contents(models / "foraminifera" / "2") == contents(new / "1")


def test_the_next_number_follows_an_incomplete_version(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "foraminifera" / "7").mkdir(parents=True)
    assert publish(artifact, tmp_path / "models") == 8


def test_a_target_may_contain_spaces(artifact: Path, tmp_path: Path) -> None:
    assert publish(artifact, tmp_path / "my models") == 1
    assert (tmp_path / "my models" / "foraminifera" / "1" / "saved_model.pb").is_file()


def test_a_model_that_the_gate_rejected_is_not_published(make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    publish(make_artifact("good"), tmp_path / "models")
    with pytest.raises(DeployError, match=r"gate rejected.*0\.50 is below 0\.95"):
        publish(make_artifact("bad", gate_passed=False), tmp_path / "models")
    assert version_numbers(tmp_path / "models" / "foraminifera") == [1]


def test_a_model_card_with_another_name_is_rejected(make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="names 'fish'"):
        publish(make_artifact("fish", name="fish"), tmp_path / "models")


def test_a_name_that_leaves_the_repository_is_rejected(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="model name"):
        publish(artifact, tmp_path / "models", name="../elsewhere")


@pytest.mark.parametrize("name", ["saved_model.pb", "reference.parquet", "examples/0.png"])
def test_an_incomplete_model_is_rejected_with_the_missing_file(artifact: Path, tmp_path: Path, name: str) -> None:
    (artifact / "1" / name).unlink()
    with pytest.raises(DeployError, match=name):
        publish(artifact, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_missing_model_card_is_rejected(artifact: Path, tmp_path: Path) -> None:
    (artifact / "1" / "model.json").unlink()
    with pytest.raises(ContractError, match=r"model\.json does not exist"):
        publish(artifact, tmp_path / "models")


def change(folder: Path) -> None:
    (folder / "variables" / "variables.index").write_bytes(b"b" * 1000)


def add(folder: Path) -> None:
    (folder / "variables" / "more").write_bytes(b"x")


def remove(folder: Path) -> None:
    (folder / "variables" / "variables.index").unlink()


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (change, "changed: variables/variables.index"),
        (add, "added: variables/more"),
        (remove, "missing: variables/variables.index"),
    ],
)
@pytest.mark.parametrize("target", ["file", "kserve"])
def test_a_model_that_differs_from_its_digests_is_not_deployed(
    artifact: Path, tmp_path: Path, cluster: Any, target: str, tamper: Callable[[Path], None], reason: str
) -> None:
    tamper(artifact / "1")
    address = (tmp_path / "models").as_uri() if target == "file" else "kserve://lab/forams"
    with pytest.raises(ContractError, match=reason):
        deploy_model(artifact, "s3://runs/a", "foraminifera", address)
    assert not (tmp_path / "models").exists()
    assert cluster.requests == []


def test_a_verification_key_requires_a_valid_signature(
    artifact: Path, tmp_path: Path, key_pair: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair("ours")
    monkeypatch.setenv("TAXONFLOW_VERIFICATION_KEY", str(public))
    with pytest.raises(ContractError, match=r"model\.sig"):
        publish(artifact, tmp_path / "models")
    sign_folder(artifact / "1", private)
    assert publish(artifact, tmp_path / "models") == 1
    assert (tmp_path / "models" / "foraminifera" / "1" / "model.sig").is_file()


@pytest.mark.parametrize("target", ["/no/scheme", "ftp://host/models", "file://host/models", "file:models", ""])
def test_a_malformed_target_is_rejected(artifact: Path, target: str) -> None:
    with pytest.raises(BadConfigError, match="target"):
        deploy_model(artifact, str(artifact), "foraminifera", target)


def test_a_repository_that_cannot_be_written_is_a_deploy_error(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(DeployError, match="cannot be written"):
        publish(artifact, tmp_path / "models")


def test_concurrent_publishers_get_different_versions(artifact: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    command = [sys.executable, "-c", PUBLISH, str(artifact), models.as_uri()]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    numbers = sorted(int(process.communicate(timeout=60)[0]) for process in processes)
    assert numbers == [1, 2, 3, 4]
    files = contents(artifact / "1")
    assert all(contents(models / "foraminifera" / str(number)) == files for number in numbers)


def test_a_killed_publication_is_invisible_and_is_removed_by_the_next(artifact: Path, tmp_path: Path) -> None:
    for number in range(1000):
        (artifact / "1" / "variables" / f"{number}").write_bytes(b"x" * 100)
    sign_folder(artifact / "1", None)
    models = tmp_path / "models"
    folder = models / "foraminifera"
    command = [sys.executable, "-c", PUBLISH, str(artifact), models.as_uri()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for_unfinished_copy(folder, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob(".unfinished-*"))
    assert version_numbers(folder) == []
    assert publish(artifact, models) == 1
    assert contents(folder / "1") == contents(artifact / "1")
    assert not list(folder.glob(".unfinished-*"))


def wait_for_unfinished_copy(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob(".unfinished-*/saved_model.pb")):
        assert process.poll() is None, "the publication ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
