"""`make images` and `make push` with a program in place of the container engine that records its calls."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.shared.container_images import IMAGE_NAMES
from pipelines import image_digests
from tests.documents import ROOT

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CERTIFICATES = ROOT / "manifests" / "images" / "ca" / "build.pem"
DIGEST = "sha256:" + "cd" * 32
ENGINE = f"""#!{sys.executable}
import json, pathlib, sys
arguments = sys.argv[1:]
ca = pathlib.Path({str(CERTIFICATES)!r})
with open({{log!r}}, "a") as log:
    print(json.dumps([arguments, ca.read_text() if ca.exists() else ""]), file=log)
if "--digestfile" in arguments:
    pathlib.Path(arguments[arguments.index("--digestfile") + 1]).write_text({DIGEST!r})
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Return a program that logs its arguments, and the certificates that are in the build's context."""
    program = tmp_path / "podman"
    program.write_text(ENGINE.format(log=str(tmp_path / "log")))
    program.chmod(0o700)
    return program


def calls(engine: Path) -> list[tuple[list[str], str]]:
    log = engine.with_name("log")
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def make(target: str, *variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "TAXONFLOW"))}
    command = ["make", "-s", "-C", str(ROOT), target, *variables]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_each_image_is_built_for_the_registry_and_the_tag(engine: Path) -> None:
    result = make(
        "images", f"ENGINE={engine} --root /x", "REGISTRY=r.example.org/lab/", "TAG=1.2", "BUILD_OPTIONS=-q -v"
    )
    assert result.returncode == 0, result.stderr
    commands = [arguments for arguments, _ in calls(engine)]
    assert [command[command.index("--target") + 1] for command in commands] == list(IMAGE_NAMES)
    for name, command in zip(IMAGE_NAMES, commands, strict=True):
        assert command[:5] == ["--root", "/x", "build", "-q", "-v"]
        assert command[command.index("--tag") + 1] == f"r.example.org/lab/taxonflow/{name}:1.2"
        assert {"REGISTRY=r.example.org/lab/", "TAG=1.2"} <= set(command)


def test_the_build_has_the_certificates_and_removes_them(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "my ca.pem").write_text(CERTIFICATE)
    result = make("images", f"ENGINE={engine}", "TARGETS=serving", f"CA={tmp_path}/my ca.pem")
    assert (result.returncode, [ca for _, ca in calls(engine)]) == (0, [CERTIFICATE]), result.stderr
    assert not CERTIFICATES.exists()


def test_a_build_without_certificates_uses_none_of_an_earlier_one(engine: Path) -> None:
    CERTIFICATES.write_text(CERTIFICATE)
    make("images", f"ENGINE={engine}", "TARGETS=serving")
    assert [ca for _, ca in calls(engine)] == [""]


@pytest.mark.parametrize("content", [None, "", "0\x82\x01\x0a binary"])
def test_a_file_without_certificates_is_refused(engine: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    result = make("images", f"ENGINE={engine}", f"CA={tmp_path}/ca.pem")
    assert (result.returncode, calls(engine)) == (2, [])
    assert f"CA={tmp_path}/ca.pem is not a readable file" in result.stderr


def test_the_certificates_are_in_no_final_image() -> None:
    stages = (ROOT / "manifests" / "images" / "Dockerfile").read_text().split("\nFROM ")[1:]
    with_certificates = [stage.split()[2] for stage in stages if "images/ca" in stage or "roots.pem" in stage]
    assert with_certificates == ["installer"]
    copies = [line for stage in stages for line in stage.splitlines() if line.startswith("COPY --from=")]
    assert {line.split(maxsplit=2)[2] for line in copies} == {"/opt/venv /opt/venv"}


def push(*arguments: str) -> int:
    return image_digests.main(["--tag", "1.2", "--registry", "r.example.org", *arguments])


def test_every_image_is_pushed_and_two_are_pinned(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_digests, "COMPONENT", tmp_path / "kustomization.yaml")
    assert push("--engine", str(engine)) == 0
    pushed = [arguments[-1] for arguments, _ in calls(engine)]
    assert pushed == [f"r.example.org/taxonflow/{name}:1.2" for name in IMAGE_NAMES]
    document = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())
    (pin,) = document["images"]
    expected = {"name": "taxonflow/monitoring", "newName": "r.example.org/taxonflow/monitoring", "digest": DIGEST}
    assert pin == expected
    assert f"r.example.org/taxonflow/serving@{DIGEST}" in document["configMapGenerator"][0]["literals"][0]


def test_pins_stay_where_only_images_of_steps_are_pushed(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_digests, "COMPONENT", tmp_path / "kustomization.yaml")
    assert push("--engine", str(engine), "--images", "python-cpu") == 0
    assert not (tmp_path / "kustomization.yaml").exists()
    assert "is unchanged" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--engine", ""], ["--engine", "podman", "--images", "python-tpu"]])
def test_a_push_without_engine_or_image_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert push(*arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
