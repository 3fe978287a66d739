"""Paths, numbers and names of the model repository."""

from pathlib import Path

import pytest

from components.shared.errors import BadInputError, ContractError
from components.shared.model_repository import (
    CARD_FILE,
    artifact_folder,
    find_models,
    latest_version_folder,
    read_card,
    require_models,
    version_folder,
    version_numbers,
)


def touch_cards(root: Path, *versions: str) -> None:
    for version in versions:
        (root / version).mkdir(parents=True)
        (root / version / CARD_FILE).touch()


def test_folders_follow_the_layout_of_tensorflow_serving(tmp_path: Path) -> None:
    assert version_folder(tmp_path, "forams", 12) == tmp_path / "forams" / "12"
    assert artifact_folder(tmp_path) == tmp_path / "1"


def test_version_numbers_are_ascending_and_ignore_other_names(tmp_path: Path) -> None:
    touch_cards(tmp_path, "10", "9", ".unfinished-11", "12a", "latest")
    assert version_numbers(tmp_path) == [9, 10]
    assert version_numbers(tmp_path / "nothing") == []


def test_the_latest_version_folder_has_the_highest_number(tmp_path: Path) -> None:
    touch_cards(tmp_path, "9", "010", "12a")
    assert latest_version_folder(tmp_path) == tmp_path / "010"


def test_a_folder_without_versions_is_itself_the_latest(tmp_path: Path) -> None:
    assert latest_version_folder(tmp_path) == tmp_path
    assert latest_version_folder(tmp_path / "nothing") == tmp_path / "nothing"


def test_models_are_found_by_the_cards_of_numbered_versions(tmp_path: Path) -> None:
    touch_cards(tmp_path, "forams/10", "forams/2", "fish/1", "fish/.unfinished-2")
    (tmp_path / "forams" / "11").mkdir()
    assert find_models(tmp_path) == require_models(tmp_path) == {"fish": [1], "forams": [2, 10]}


def test_an_empty_repository_is_refused_where_a_model_is_required(tmp_path: Path) -> None:
    assert find_models(tmp_path) == {}
    with pytest.raises(BadInputError, match=str(tmp_path)):
        require_models(tmp_path)


def test_a_missing_card_is_a_contract_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=CARD_FILE):
        read_card(tmp_path)
