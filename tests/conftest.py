"""Fixtures that several rooms' tests share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.phantoms.generate import PhantomConfig, generate_phantoms

SCHEMAS = Path(__file__).parents[2] / "shared" / "schemas"


def closed(schema: Any) -> Any:
    """Forbids unknown fields in every object of a CRD schema that lists its fields, so that a typo cannot pass."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    open_object = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_object:
        inner["additionalProperties"] = False
    return inner


@cache
def _validator(kind: str, version: str) -> jsonschema.protocols.Validator:
    for path in SCHEMAS.glob("*.yaml"):
        text = path.read_text()
        if f"\n    kind: {kind}\n" not in text:  # reading the other definitions would take seconds
            continue
        definition = yaml.load(text, yaml.CSafeLoader)
        served = {item["name"]: item["schema"]["openAPIV3Schema"] for item in definition["spec"]["versions"]}
        return jsonschema.Draft202012Validator(closed(served[version]))
    raise LookupError(f"no CRD schema of {kind}")


@pytest.fixture(scope="session")
def complaints_of_crd() -> Callable[[dict[str, Any]], list[str]]:
    """Returns a function that lists what a custom resource violates in its CRD schema, unknown fields included."""
    if not SCHEMAS.is_dir():
        pytest.skip("the CRD schemas are not beside the repository")
    return crd_complaints


def crd_complaints(document: dict[str, Any]) -> list[str]:
    version = document["apiVersion"].rpartition("/")[2]
    errors = _validator(document["kind"], version).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@pytest.fixture
def key_pair(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Returns a function that makes a private and a public key under a name."""

    def make(name: str) -> tuple[Path, Path]:
        private, public = tmp_path / f"{name}-private.pem", tmp_path / f"{name}-public.pem"
        if not private.exists():
            key, form = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
            plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            private.write_bytes(key.private_bytes(form, *plain))
            public.write_bytes(key.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo))
        return private, public

    return make


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen synthetic specimens of three species, 40 voxels wide, with a manifest.csv."""
    folder = tmp_path_factory.mktemp("volumes") / "set"
    species = ("Fallotia", "Coskinolina", "Baculogypsina")
    generate_phantoms(folder, PhantomConfig(specimens_per_species=6, unseen_per_species=0, size=40, species=species), 1)
    return folder


@pytest.fixture(scope="session")
def raw_slices(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 raw slices at 32 px of the eighteen specimens."""
    from components.ingest.config import IngestConfig
    from components.ingest.dataset import make_dataset

    folder = tmp_path_factory.mktemp("slices") / "raw"
    config = IngestConfig.checked(image_size=32, slices_per_species=60, planes="random", seed=1)
    make_dataset(volumes, folder, config)
    return folder


@pytest.fixture(scope="session")
def segmented_slices(raw_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw slices, segmented."""
    from components.segment.dataset import segment_dataset

    folder = tmp_path_factory.mktemp("slices") / "segmented"
    segment_dataset(raw_slices, folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def trained_backbones(segmented_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Both small backbones after a few epochs on the segmented slices."""
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    folder = tmp_path_factory.mktemp("backbones")
    recipe = Recipe(epochs=6, batch_size=16, ema_momentum=0.9)
    for backbone in ("cnn_small", "resnet_small"):
        train_backbone(segmented_slices, backbone, recipe, 0, folder / backbone)
    return folder / "cnn_small", folder / "resnet_small"
