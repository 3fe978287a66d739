"""Places of a served version beside the endpoint that need no object store: claims, folders and refused addresses."""

from pathlib import Path

import pytest

from components.deploy.monitored_models import hand_over
from components.deploy.verified_model import VerifiedModel, verify_model
from components.deploy.version_copies import copy_uri, copy_version
from components.shared.errors import BadConfigError, DeployError
from tests.deploy.handed_over import check_handed_over


def verified(artifact: Path, uri: str = "s3://runs/a") -> VerifiedModel:
    return verify_model(artifact, uri, "foraminifera")


def test_a_model_on_a_claim_is_served_in_place(artifact: Path) -> None:
    assert copy_version(verified(artifact, "pvc://claim/a"), "lab", "forams", 1) == "pvc://claim/a"


@pytest.mark.parametrize(
    ("uri", "namespace", "reason"),
    [
        ("/tmp/served", "lab", "cannot read the model"),
        ("s3:///served", "lab", "cannot read the model"),
        ("pvc:///a", "lab", "cannot read the model"),
        ("https://host/served", "lab", "cannot read the model"),
        ("s3://runs/a", "../lab", "the name '../lab'"),
        ("s3://runs/a", "", "the name ''"),
    ],
)
def test_a_place_that_kserve_cannot_read_is_refused(uri: str, namespace: str, reason: str) -> None:
    with pytest.raises(DeployError, match=reason):
        copy_uri(uri, namespace, "forams", 1)


@pytest.mark.parametrize(
    ("artifact_folder", "root"),
    [
        ("mlpipeline/v2/artifacts/taxonflow-training/run/evaluate/served", "mlpipeline"),
        ("mlpipeline/private-artifacts/ana/v2/artifacts/run/served", "mlpipeline/private-artifacts/ana"),
        ("bucket/own/folder/of/runs/served", "bucket"),
        ("bucket/rev2/artifacts/run/served", "bucket"),
    ],
)
def test_a_copy_lies_where_the_keys_of_a_profile_may_write(artifact_folder: str, root: str) -> None:
    uri = copy_uri(f"minio://{artifact_folder}", "ana", "forams", 3)
    assert uri == f"s3://{root}/taxonflow/served/ana/forams/3/"


def test_no_address_of_a_version_is_the_beginning_of_another() -> None:
    addresses = [copy_uri("minio://runs/a", "ana", "forams", number) for number in (1, 2, 10, 11, 100)]
    for address in addresses:
        # KServe's storage initializer downloads every object whose name begins with the address.
        assert [other for other in addresses if other.startswith(address)] == [address]


def test_the_monitor_gets_card_and_profile_in_a_folder(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for address in (f"{tmp_path}/models", f"file://{tmp_path}/models"):
        assert hand_over(verified(artifact), 7, address) == f"{tmp_path}/models/foraminifera/7"
    check_handed_over(tmp_path / "models", artifact)


def test_a_claim_that_is_not_mounted_is_an_error(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"models does not exist.*Mount its claim"):
        hand_over(verified(artifact), 1, str(tmp_path / "models"))


def test_a_folder_that_cannot_be_written_is_an_error(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "foraminifera").write_text("a file in place of the folder")
    with pytest.raises(DeployError, match=r"cannot be handed over.*Let the group 1000 write"):
        hand_over(verified(artifact), 1, str(tmp_path))


def test_a_reference_outside_the_version_is_refused(artifact: Path, tmp_path: Path) -> None:
    model = verified(artifact)
    card = model.card.model_copy(update={"reference": "../../outside.parquet"})
    changed = VerifiedModel(model.folder, model.uri, model.name, card, model.digest)
    with pytest.raises(DeployError, match="a file beside the card"):
        hand_over(changed, 1, str(tmp_path))
    assert list(tmp_path.glob("**/outside.parquet")) == []


@pytest.mark.parametrize("url", ["s3://", "s3://key:secret@runs/models", "s3://runs/models?x=1", "nonsense://runs/a"])
def test_an_incomplete_address_is_refused_without_its_secrets(artifact: Path, url: str) -> None:
    with pytest.raises(BadConfigError) as raised:
        hand_over(verified(artifact), 1, url)
    assert "secret" not in str(raised.value)
