"""`python -m pipelines.image_digests <repository>@<digest> ...`: pins the images of the manifests by digest.

`make digests` asks the engine that pushed them for their digests. A tag can be moved to other bytes, a digest cannot.
"""

import re
import sys
from pathlib import Path

import yaml

from components.shared.container_images import MONITORING_IMAGE, SERVING_IMAGE
from components.shared.errors import EXIT_BAD_INPUT, BadConfigError, TaxonflowError
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


def main(images: list[str]) -> int:
    """Writes the component; returns 0, or EXIT_BAD_INPUT with one sentence."""
    try:
        write_atomically(COMPONENT, pinned(images).encode())
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT
    sys.stdout.write(f"[digests] {COMPONENT} pins {len(images)} images\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
