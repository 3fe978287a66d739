"""The first task rejects wrong parameters, and its result changes with the files of the source."""

import os
from pathlib import Path
from typing import Any

import pytest

from components.parameters.component import check_parameters

VALID: dict[str, Any] = {
    "backbones": ["cnn_small"],
    "recipe": {"epochs": 2.0},
    "seed": 0,
    "image_size": 64,
    "slices_per_species": 600,
    "planes": "random",
    "threshold": 0.95,
    "gate": {},
    "name": "foraminifera",
    "target": "",
    "registry": "",
    "canary": {"percent": 10.0},
    "doubtful_masks": "keep",
    "confined": True,
    "rare_species": "unseen",
    "folds": -1,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for species in ("Alba", "Nigra"):
        for number in range(3):
            file = tmp_path / "volumes" / species / f"{number}.nii"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"content")
    return tmp_path / "volumes"


def check(**changes: Any) -> str:
    return str(check_parameters.python_func(**{**VALID, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"epocs": 3}},
        {"recipe": {"image_size": 12}},
        {"recipe": {"backbones": {"efficientnet_lite0": {"image_size": 16}}}, "backbones": ["efficientnet_lite0"]},
        {"backbones": []},
        {"backbones": ["cnn_small"], "large_backbones": ["cnn_small"]},
        {"gate": {"smallest_recal": 0.5}},
        {"canary": {"percent": 70}},
        {"target": "http://forams"},
        {"target": "kserve://forams"},
        {"target": "kserve://lab/My_Forams"},
        {"name": "My_Forams"},
        {"registry": "ftp://registry"},
        {"planes": "sometimes"},
        {"seed": -1},
        {"folds": 1},
        {"folds": -2},
    ],
)
def test_a_wrong_parameter_ends_the_task_as_bad_input(
    changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        check(**changes)
    assert exit_info.value.code == 2
    assert capsys.readouterr().out.startswith("[check_parameters] bad_input: ")


def test_without_a_source_there_is_no_digest() -> None:
    assert check() == ""


def test_the_digest_is_that_of_the_names_sizes_and_times_of_the_files(source: Path) -> None:
    first = check(volumes=str(source))
    assert first == check(volumes=str(source))
    assert len(first) == 64
    file = source / "Alba" / "0.nii"
    os.utime(file, ns=(1, 1))
    changed = check(volumes=str(source))
    file.rename(file.with_name("9.nii"))
    renamed = check(volumes=str(source))
    (source / "Alba" / "1.nii").write_bytes(b"longer content")
    assert len({first, changed, renamed, check(volumes=str(source))}) == 4


def test_a_row_of_the_manifest_changes_the_digest(source: Path) -> None:
    rows = [f"{file.relative_to(source)},{file.parent.name},{file.stem}" for file in sorted(source.rglob("*.nii"))]
    (source / "manifest.csv").write_text("\n".join(["path,species,specimen", *rows]))
    before = check(volumes=str(source))
    (source / "manifest.csv").write_text("\n".join(["path,species,specimen", *rows[:-1]]))
    assert check(volumes=str(source)) != before


def test_a_missing_source_ends_the_task_as_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        check(volumes=str(tmp_path / "nothing"))
    assert exit_info.value.code == 2
    assert "does not exist" in capsys.readouterr().out
