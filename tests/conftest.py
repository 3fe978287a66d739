"""Fixtures shared by the tests of several packages."""

import gzip
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.phantoms.generate import PhantomConfig, generate_phantoms

SCHEMAS = Path(__file__).parents[2] / "shared" / "schemas"


def closed(schema: Any) -> Any:
    """Reject unknown fields in every object of a CRD schema that lists its fields, so that a typo is an error."""
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
        if f"\n    kind: {kind}\n" not in text:  # parsing the other definitions would take seconds
            continue
        definition = yaml.load(text, yaml.CSafeLoader)
        schemas = {item["name"]: item["schema"]["openAPIV3Schema"] for item in definition["spec"]["versions"]}
        return jsonschema.Draft202012Validator(closed(schemas[version]))
    raise LookupError(f"no CRD schema of {kind}")


def two_callers() -> list[tuple[Any, ...]]:
    """Return the caller and its caller as `inspect.stack` does, but only with the names of their functions."""
    names = [sys._getframe(depth).f_code.co_name for depth in (1, 2)]
    return [(None, None, None, name) for name in names]


@pytest.fixture(scope="session", autouse=True)
def _short_stack_of_kfp() -> Iterator[None]:
    """Build pipelines in 0.05 s instead of 6 s.

    For each setting of a task, kfp reads the name of one caller from the sources of the whole stack. For each frame of
    pytest and xdist without a source file, Python then searches all imported modules, of which there are thousands.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "kfp.dsl.pipeline_task" in sys.modules:
            patch.setattr("kfp.dsl.pipeline_task.inspect", SimpleNamespace(stack=two_callers))
        yield


@pytest.fixture(scope="session")
def complaints_of_crd() -> Callable[[dict[str, Any]], list[str]]:
    """Return a function that lists the violations of a custom resource against its CRD schema, with unknown fields."""
    if not SCHEMAS.is_dir():
        pytest.skip("the CRD schemas are not beside the repository")
    return crd_complaints


def crd_complaints(document: dict[str, Any]) -> list[str]:
    """Return the violations of a custom resource against its CRD schema."""
    version = document["apiVersion"].rpartition("/")[2]
    errors = _validator(document["kind"], version).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@pytest.fixture
def key_pair(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Return a function that creates a private and a public key with a name."""

    def make(name: str) -> tuple[Path, Path]:
        private, public = tmp_path / f"{name}-private.pem", tmp_path / f"{name}-public.pem"
        if not private.exists():
            key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
            pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            private.write_bytes(key.private_bytes(pem, *pkcs8))
            public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
        return private, public

    return make


@pytest.fixture
def ball() -> np.ndarray:
    """Return float32 [24, 28, 32]: a bright ball with a dark core on a noisy background."""
    grid = np.indices((24, 28, 32)) - np.array([12, 14, 16])[:, None, None, None]
    radius = np.sqrt((grid**2).sum(axis=0))
    noise = np.random.default_rng(0).normal(size=radius.shape)
    return (20 + 100 * ((radius < 9) & (radius > 4)) + 3 * noise).astype(np.float32)


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an array as NIfTI; further keywords overwrite header fields unchecked."""

    def write(
        array: np.ndarray, name: str = "volume.nii.gz", zooms: tuple[float, ...] = (0.1, 0.1, 0.1), **fields: Any
    ) -> Path:
        image = nib.Nifti1Image(array, None)
        image.header.set_zooms((zooms + (1.0,) * 4)[: array.ndim])
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, file)
        if fields:
            _overwrite_fields(file, fields)
        return file

    return write


def _overwrite_fields(file: Path, fields: dict[str, Any]) -> None:
    content = file.read_bytes()
    is_gzip = content[:2] == b"\x1f\x8b"
    content = gzip.decompress(content) if is_gzip else content
    block = np.frombuffer(content[:348], dtype=nib.Nifti1Header.template_dtype).copy()
    for name, value in fields.items():
        block[name] = value
    content = block.tobytes() + content[348:]
    file.write_bytes(gzip.compress(content) if is_gzip else content)


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate eighteen synthetic specimens of three species, 40 voxels wide, with a manifest.csv."""
    folder = tmp_path_factory.mktemp("volumes") / "set"
    species = ("Fallotia", "Coskinolina", "Baculogypsina")
    generate_phantoms(folder, PhantomConfig(specimens_per_species=6, unseen_per_species=0, size=40, species=species), 1)
    return folder


@pytest.fixture(scope="session")
def raw_slices(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut 180 raw slices at 32 px from the eighteen specimens."""
    from components.ingest.config import IngestConfig
    from components.ingest.dataset import make_dataset

    folder = tmp_path_factory.mktemp("slices") / "raw"
    config = IngestConfig.checked(image_size=32, slices_per_species=60, planes="random", seed=1)
    make_dataset(volumes, folder, config)
    return folder


@pytest.fixture(scope="session")
def segmented_slices(raw_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segment the raw slices."""
    from components.segment.dataset import segment_dataset

    folder = tmp_path_factory.mktemp("slices") / "segmented"
    segment_dataset(raw_slices, folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def trained_backbones(segmented_slices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Train both small backbones for a few epochs on the segmented slices."""
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    folder = tmp_path_factory.mktemp("backbones")
    recipe = Recipe(epochs=6, batch_size=16, ema_momentum=0.9)
    for backbone in ("cnn_small", "resnet_small"):
        train_backbone(segmented_slices, backbone, recipe, 0, folder / backbone)
    return folder / "cnn_small", folder / "resnet_small"
