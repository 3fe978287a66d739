"""Deployment of a served model that release 0.1.0 wrote (schema `taxonflow.served-model/1`)."""

import shutil
from pathlib import Path

import pytest

from components.deploy.canary.probe import probe_slices
from components.deploy.canary.settings import CanaryTrial
from components.deploy.targets import deploy_model
from components.deploy.verified_model import verify_model

OLD_MODEL = Path(__file__).parents[1] / "fixtures" / "served-model-0.1.0" / "foraminifera"


@pytest.fixture
def old_artifact(tmp_path: Path) -> Path:
    """Copy of a served model of 0.1.0."""
    return shutil.copytree(OLD_MODEL, tmp_path / "artifact")


def test_a_model_of_0_1_0_is_published_to_a_local_repository(old_artifact: Path, tmp_path: Path) -> None:
    target = f"file://{tmp_path / 'models'}"
    result = deploy_model(old_artifact, old_artifact.as_uri(), "foraminifera", target, CanaryTrial())
    assert result.version == 1
    card = tmp_path / "models" / "foraminifera" / "1" / "model.json"
    assert card.read_bytes() == (OLD_MODEL / "1" / "model.json").read_bytes()


def test_the_known_slices_of_a_model_of_0_1_0_are_sent_to_a_canary(old_artifact: Path) -> None:
    model = verify_model(old_artifact, "s3://bucket/artifact", "foraminifera")
    slices = probe_slices(model, CanaryTrial())
    assert [known.species for known in slices] == [example.species for example in model.card.examples]
