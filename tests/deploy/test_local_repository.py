"""The local repository: complete versions only, each of them once."""

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


def publish(served: Path, models: Path, name: str = "foraminifera") -> int:
    return deploy_model(served, str(served), name, models.as_uri()).version


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_published_whole_as_version_1(served: Path, tmp_path: Path) -> None:
    deployed = deploy_model(served, str(served), "foraminifera", (tmp_path / "models").as_uri())
    folder = tmp_path / "models" / "foraminifera" / "1"
    assert deployed.version == 1
    assert deployed.address == folder.as_uri()
    assert contents(folder) == contents(served / "1")


def test_the_next_model_gets_the_next_number_and_the_old_one_stays(
    make_served: Callable[..., Path], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    old, new = make_served("old"), make_served("new")
    assert [publish(old, models), publish(new, models)] == [1, 2]
    assert contents(models / "foraminifera" / "1") == contents(old / "1")
    assert contents(models / "foraminifera" / "2") == contents(new / "1")


def test_a_number_is_not_given_again_below_the_newest(served: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "foraminifera" / "7").mkdir(parents=True)
    assert publish(served, tmp_path / "models") == 8


def test_a_target_with_spaces_is_understood(served: Path, tmp_path: Path) -> None:
    assert publish(served, tmp_path / "my models") == 1
    assert (tmp_path / "my models" / "foraminifera" / "1" / "saved_model.pb").is_file()


def test_a_model_that_the_gate_refused_is_not_published(make_served: Callable[..., Path], tmp_path: Path) -> None:
    publish(make_served("good"), tmp_path / "models")
    with pytest.raises(DeployError, match=r"gate refused.*0\.50 is below 0\.95"):
        publish(make_served("bad", passed=False), tmp_path / "models")
    assert version_numbers(tmp_path / "models" / "foraminifera") == [1]


def test_a_model_card_of_another_name_is_refused(make_served: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="names 'fish'"):
        publish(make_served("fish", name="fish"), tmp_path / "models")


def test_a_name_that_leaves_the_repository_is_refused(served: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="model name"):
        publish(served, tmp_path / "models", name="../elsewhere")


@pytest.mark.parametrize("missing", ["saved_model.pb", "reference.parquet", "examples/0.png"])
def test_an_incomplete_model_is_refused_by_the_missing_file(served: Path, tmp_path: Path, missing: str) -> None:
    (served / "1" / missing).unlink()
    with pytest.raises(DeployError, match=missing):
        publish(served, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_missing_model_card_is_refused(served: Path, tmp_path: Path) -> None:
    (served / "1" / "model.json").unlink()
    with pytest.raises(ContractError, match=r"model\.json does not exist"):
        publish(served, tmp_path / "models")


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
def test_a_model_that_is_not_what_was_signed_goes_nowhere(
    served: Path, tmp_path: Path, cluster: Any, target: str, tamper: Callable[[Path], None], reason: str
) -> None:
    tamper(served / "1")
    address = (tmp_path / "models").as_uri() if target == "file" else "kserve://lab/forams"
    with pytest.raises(ContractError, match=reason):
        deploy_model(served, "s3://runs/a", "foraminifera", address)
    assert not (tmp_path / "models").exists()
    assert cluster.requests == []


def test_where_there_is_a_key_only_what_it_signed_is_published(
    served: Path, tmp_path: Path, key_pair: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair("ours")
    monkeypatch.setenv("TAXONFLOW_VERIFICATION_KEY", str(public))
    with pytest.raises(ContractError, match=r"is not signed: expected model\.sig"):
        publish(served, tmp_path / "models")
    sign_folder(served / "1", private)
    assert publish(served, tmp_path / "models") == 1
    assert (tmp_path / "models" / "foraminifera" / "1" / "model.sig").is_file()


@pytest.mark.parametrize("target", ["/no/scheme", "ftp://host/models", "file://host/models", "file:models", ""])
def test_a_target_that_names_no_place_is_refused(served: Path, target: str) -> None:
    with pytest.raises(BadConfigError, match="target"):
        deploy_model(served, str(served), "foraminifera", target)


def test_a_repository_that_cannot_be_written_is_one_sentence(served: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(DeployError, match="could not be written"):
        publish(served, tmp_path / "models")


def test_concurrent_publications_get_different_versions(served: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    command = [sys.executable, "-c", PUBLISH, str(served), models.as_uri()]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    versions = sorted(int(process.communicate(timeout=60)[0]) for process in processes)
    assert versions == [1, 2, 3, 4]
    whole = contents(served / "1")
    assert all(contents(models / "foraminifera" / str(version)) == whole for version in versions)


def test_a_killed_publication_is_never_visible_and_the_next_one_cleans_up(served: Path, tmp_path: Path) -> None:
    for number in range(1000):
        (served / "1" / "variables" / f"{number}").write_bytes(b"x" * 100)
    sign_folder(served / "1", None)
    versions = tmp_path / "models" / "foraminifera"
    command = [sys.executable, "-c", PUBLISH, str(served), (tmp_path / "models").as_uri()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for_unfinished_copy(versions, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(versions.glob(".unfinished-*"))
    assert version_numbers(versions) == []
    assert publish(served, tmp_path / "models") == 1
    assert contents(versions / "1") == contents(served / "1")
    assert not list(versions.glob(".unfinished-*"))


def wait_for_unfinished_copy(versions: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not list(versions.glob(".unfinished-*/saved_model.pb")):
        assert process.poll() is None, "the publication ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.001)
