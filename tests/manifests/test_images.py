"""Images: their packages are locked with hashes, and they do not run as root."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.image_contents import pins

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "manifests" / "images"


@pytest.mark.parametrize("image", ["components", "training", "serving", "monitoring"])
def test_every_pin_of_an_image_is_in_a_lock_with_hashes(image: str) -> None:
    assert pins(IMAGES / f"{image}.txt") <= pins(ROOT / "requirements.lock") | pins(IMAGES / "cuda.lock")


@pytest.mark.parametrize("image", ["serving", "monitoring"])
def test_serving_and_monitoring_images_contain_no_tensorflow(image: str) -> None:
    assert not any(pin.startswith(("tensorflow==", "keras==")) for pin in pins(IMAGES / f"{image}.txt"))


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    process = subprocess.run([hadolint, IMAGES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_every_image_runs_as_an_unprivileged_user() -> None:
    stages = re.split(r"^FROM ", (IMAGES / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if re.match(r"runtime AS ", stage)]
    assert [stage.split()[2] for stage in final] == ["python-cpu", "python-gpu", "serving", "monitoring"]
    assert all(re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] == ["1000:1000"] for stage in final)


def test_no_lock_contains_a_url() -> None:
    locks = [ROOT / "requirements.lock", *IMAGES.glob("*.txt"), *IMAGES.glob("*.lock"), *IMAGES.glob("*.in")]
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
