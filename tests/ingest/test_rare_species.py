"""Species with fewer than three specimens: unseen by default, trained outside the gate's floors, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.gate import Evidence, GateConfig, apply_gate
from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.shared.errors import BadManifestError

FIELDS = {"image_size": 32, "slices_per_species": 15, "planes": "random", "seed": 0}


@pytest.fixture
def folder(own_phantoms: Path) -> Path:
    """Return a folder of three species, of which Orbitoides has two specimens."""
    for number in (2, 3, 4):
        (own_phantoms / "volumes" / "Orbitoides" / f"orbitoides-00{number}.nii.gz").unlink()
    return own_phantoms / "volumes"


def document_or_message(folder: Path, target: Path, **parameters: str) -> dict[str, Any] | str:
    """Return the content of `dataset.json`, or the message with which the source is refused."""
    try:
        make_dataset(folder, target, IngestConfig.checked(**FIELDS, **parameters))
    except BadManifestError as error:
        return str(error)
    return dict(json.loads((target / "dataset.json").read_text()))


def splits_of(document: dict[str, Any] | str, species: str) -> dict[str, int]:
    counts = document["counts"] if isinstance(document, dict) else []
    return {count["split"]: count["specimens"] for count in counts if count["species"] == species}


def test_a_rare_species_is_unseen_by_default_and_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = document_or_message(folder, tmp_path / "slices")
    assert splits_of(document, "Orbitoides") == {"unseen": 2}
    assert document["classes"] == ["Elphidiella", "Lockhartia"]
    assert document["rare_species"] == {"Orbitoides": 2}
    assert "fewer than 3 specimens: Orbitoides (2); the model has to recognize" in capsys.readouterr().out


def test_a_rare_species_is_trained_if_asked(folder: Path, tmp_path: Path) -> None:
    document = document_or_message(folder, tmp_path / "slices", rare_species="train")
    assert splits_of(document, "Orbitoides") == {"train": 2}
    assert document["classes"] == ["Elphidiella", "Lockhartia", "Orbitoides"]
    assert document["rare_species"] == {"Orbitoides": 2}


def test_a_rare_species_ends_the_run_if_asked(folder: Path, tmp_path: Path) -> None:
    message = document_or_message(folder, tmp_path / "slices", rare_species="refuse")
    assert isinstance(message, str)
    assert "'Orbitoides' has 2" in message


@pytest.mark.parametrize(("rule", "split"), [("unseen", "unseen"), ("train", "train")])
def test_a_species_that_becomes_rare_by_refusals_is_treated_likewise(
    rule: str, split: str, own_phantoms: Path, tmp_path: Path
) -> None:
    species = own_phantoms / "volumes" / "Lockhartia"
    content = (species / "lockhartia-000.nii.gz").read_bytes()
    for number in (1, 2, 3, 4):
        (species / f"lockhartia-00{number}.nii.gz").write_bytes(content if number < 4 else content[:2000])
    document = document_or_message(own_phantoms / "volumes", tmp_path / "slices", rare_species=rule)
    assert splits_of(document, "Lockhartia") == {split: 1}
    assert document["rare_species"] == {"Lockhartia": 1}


@pytest.mark.parametrize("rule", ["unseen", "train", "refuse"])
def test_two_species_with_three_specimens_have_to_remain(rule: str, folder: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        (folder / "Lockhartia" / f"lockhartia-00{number}.nii.gz").unlink()
    message = document_or_message(folder, tmp_path / "slices", rare_species=rule)
    assert isinstance(message, str)
    assert "'Lockhartia' has 1" in message


def test_the_verdict_names_rare_species_outside_the_floors() -> None:
    fields = {"species": ("Alba", "Nigra", "Rara"), "accuracy": 0.99, "recall": {"Alba": 0.9, "Nigra": 0.9}}
    counts = {"Alba": 3, "Nigra": 3, "Rara": 0}
    rare = {"rare_species": {"Rara": 1}} if "rare_species" in Evidence.__dataclass_fields__ else {}
    verdict = apply_gate(Evidence(**fields, test_specimens=counts, **rare), GateConfig(fewest_test_specimens=2))
    assert verdict.passed
    assert "Rara (1)" in verdict.reasons[-1]
