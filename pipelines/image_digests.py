"""`python -m pipelines.image_digests --engine docker --registry R --tag T`: pushes images, and pins them by digest.

A tag can be moved to other bytes, a digest cannot. Which digest a registry gives an image shows in the push alone:
podman and buildah compress layers on the way, and name later the digest of the image's uncompressed twin.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from components.shared.container_images import MONITORING_IMAGE, SERVING_IMAGE
from components.shared.errors import BadConfigError, DeployError, TaxonflowError, exit_code_of
from components.shared.files import write_atomically

COMPONENT = Path(__file__).parents[1] / "manifests" / "components" / "image-digests" / "kustomization.yaml"
_PINNED = re.compile(r"(?P<repository>[a-z0-9][a-z0-9._/:-]*)@(?P<digest>sha256:[0-9a-f]{64})")
_HEAD = "# Written by `make digests`: the images of the pods by digest, so that what runs is what was built.\n"


def pinned(images: list[str]) -> str:
    """Returns the kustomize component that pins images.

    Args:
        images: `<repository>@sha256:<digest>` of every image that the manifests name, with or without a registry.

    Raises:
        BadConfigError: one of them is no digest, is missing, or is not named by the manifests.
    """
    wanted = {_repository(image): image for image in (SERVING_IMAGE, MONITORING_IMAGE)}
    found = {}
    for image in images:
        match = _PINNED.fullmatch(image)
        name = match and next((name for name in wanted if _is(match["repository"], name)), None)
        if not match or not name:
            raise BadConfigError(f"the image {image!r}", f"<repository>@sha256:... of {' and '.join(wanted)}")
        found[name] = {"name": name, "newName": match["repository"], "digest": match["digest"]}
    if missing := sorted(wanted.keys() - found):
        raise BadConfigError(f"no digest of {missing[0]}", "one of each image", "Push it first.")
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [found[name] for name in sorted(found)],
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False)


def _repository(image: str) -> str:
    return image.rpartition(":")[0]


def _is(repository: str, name: str) -> bool:
    return repository == name or repository.endswith(f"/{name}")


def pushed(engine: list[str], image: str, options: list[str]) -> str:
    """Pushes an image and returns it as `<repository>@sha256:<digest>`, as its registry names it.

    Args:
        engine: docker, podman or buildah with the options that stand before their verbs.
        image: `<repository>:<tag>`.
        options: of the push.

    Raises:
        DeployError: the engine failed.
    """
    if Path(engine[0]).name == "docker":
        _run([*engine, "push", *options, image])
        known = json.loads(_run([*engine, "inspect", "--format", "{{json .RepoDigests}}", image]))
        return str(next((name for name in known if name.startswith(f"{_repository(image)}@")), ""))
    with tempfile.TemporaryDirectory() as folder:
        digest = Path(folder) / "digest"
        _run([*engine, "push", "--digestfile", str(digest), *options, image])
        return f"{_repository(image)}@{digest.read_text().strip()}"


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise DeployError(f"{shlex.join(command)} failed ({error})", "an engine that may push") from error


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m pipelines.image_digests", description=__doc__)
    parser.add_argument("--engine", type=shlex.split, required=True, help="docker, podman or buildah")
    parser.add_argument("--registry", default="", help="without a registry the engine decides")
    parser.add_argument("--tag", required=True)
    parser.add_argument("--options", type=shlex.split, default=[], help="of the push")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Writes the component; returns 0, or the exit code with one sentence."""
    asked = parse_arguments(arguments)
    prefix = f"{asked.registry.rstrip('/')}/" if asked.registry else ""
    images = [f"{prefix}{_repository(image)}:{asked.tag}" for image in (SERVING_IMAGE, MONITORING_IMAGE)]
    try:
        digests = [pushed(asked.engine, image, asked.options) for image in images]
        write_atomically(COMPONENT, pinned(digests).encode())
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    sys.stdout.write(f"[digests] {COMPONENT} pins {' and '.join(digests)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
