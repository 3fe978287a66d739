"""Images by digest: the component that pins them, and the push that finds their digests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.errors import BadConfigError, DeployError
from pipelines.image_digests import COMPONENT, pin_images, push
from tests.manifests.endpoint import patched_service

DIGEST = "sha256:" + "ab" * 32
Documents = list[dict[str, Any]]
Build = Callable[..., Documents]


def test_production_uses_images_by_digest(build: Build) -> None:
    serving, monitoring = (f"registry.example.org/taxonflow/{name}@{DIGEST}" for name in ("serving", "monitoring"))
    documents = build("overlays/production", digests=pin_images([serving, monitoring]))
    (monitor,) = [document for document in documents if document["kind"] == "Deployment"]
    pods = patched_service(documents)["spec"]["transformer"], monitor["spec"]["template"]["spec"]
    assert [pod["containers"][0]["image"] for pod in pods] == [serving, monitoring]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([f"taxonflow/serving@{DIGEST}"], "no digest of taxonflow/monitoring"),
        (["taxonflow/serving:0.1.0"], "sha256"),
        ([f"taxonflow/other@{DIGEST}"], "taxonflow/other"),
        ([""], "sha256"),
    ],
)
def test_an_image_without_a_digest_is_rejected(images: list[str], reason: str) -> None:
    with pytest.raises(BadConfigError, match=reason):
        pin_images(images)


def test_the_component_in_the_repository_is_a_kustomize_component() -> None:
    assert yaml.safe_load(COMPONENT.read_text())["kind"] == "Component"


def engine_of(folder: Path, name: str, script: str) -> list[str]:
    """Write a fake container engine and return its command."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o700)
    return [str(folder / name), "--root", "/storage"]


def test_docker_reports_the_digest_of_the_registry(tmp_path: Path) -> None:
    other = f"other.example.org/taxonflow/serving@{DIGEST.replace('a', 'c')}"
    own = f"registry.example.org/taxonflow/serving@{DIGEST}"
    engine = engine_of(tmp_path, "docker", f'[ $3 = push ] || echo \'["{other}", "{own}"]\'')
    assert push(engine, "registry.example.org/taxonflow/serving:1.2.3", []) == own


def test_podman_and_buildah_write_the_digest_of_the_pushed_image(tmp_path: Path) -> None:
    arguments = "--root /storage push --digestfile $5 --tls-verify=false registry.example.org/taxonflow/serving:1.2.3"
    engine = engine_of(tmp_path, "buildah", f'[ "$*" = "{arguments}" ] && echo {DIGEST} > $5')
    image = "registry.example.org/taxonflow/serving:1.2.3"
    assert push(engine, image, ["--tls-verify=false"]) == f"registry.example.org/taxonflow/serving@{DIGEST}"


def test_a_failed_push_is_a_deploy_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="push"):
        push(engine_of(tmp_path, "podman", "exit 125"), "taxonflow/serving:1.2.3", [])
    with pytest.raises(DeployError, match="No such file"):
        push([str(tmp_path / "nowhere" / "buildah")], "taxonflow/serving:1.2.3", [])
