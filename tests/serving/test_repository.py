"""Complete and incomplete versions in the model repository."""

from pathlib import Path
from typing import Any

import pytest

from components.shared.model_repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def versions(repository: Repository, model: str) -> list[int]:
    return [version.version for version in repository.versions(model)]


def test_versions_are_numbers_and_the_newest_comes_first(repository: Repository, publish: Any) -> None:
    for number in (2, 10, 9):
        publish(repository.root, "forams", number)
    assert versions(repository, "forams") == [10, 9, 2]
    newest = repository.newest("forams")
    assert newest is not None
    assert newest.folder == repository.root / "forams" / "10"
    assert newest.card().classes[0] == "alveolina"


def test_incomplete_versions_are_skipped(repository: Repository, publish: Any) -> None:
    model = publish(repository.root, "forams", 1).parent
    for name in (".2", "2.unfinished", "0", "007", "-3", "1e3", "latest", "4"):
        (model / name).mkdir()
    (model / "5").write_text("a file")
    for number in (6, 7, 8):
        publish(repository.root, "forams", number).joinpath("digests.json").unlink()
    (model / "6" / "model.json").unlink()
    (model / "7" / "saved_model.pb").unlink()
    (model / "8" / "model.json").write_text('{"schema": "taxonflow.served-model/99"}')
    assert versions(repository, "forams") == [1]


def test_a_version_with_digests_is_listed_even_if_files_are_missing(repository: Repository, publish: Any) -> None:
    publish(repository.root, "forams", 1).joinpath("saved_model.pb").unlink()
    publish(repository.root, "forams", 2).joinpath("model.json").unlink()
    assert versions(repository, "forams") == [2, 1]


def test_models_need_a_complete_version_and_a_plain_name(repository: Repository, publish: Any) -> None:
    for name in ("forams", "fish.v2", ".hidden"):
        publish(repository.root, name, 1)
    (repository.root / "empty").mkdir()
    assert repository.models() == ["fish.v2", "forams"]


def test_names_cannot_leave_the_repository(tmp_path: Path, publish: Any) -> None:
    publish(tmp_path, "secret", 1)
    (tmp_path / "repository").mkdir()
    repository = Repository(tmp_path / "repository")
    assert versions(repository, "../secret") == []
    assert versions(repository, str(tmp_path / "secret")) == []


def test_a_repository_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert Repository(tmp_path / "nothing").models() == []
    assert Repository(tmp_path / "nothing").newest("forams") is None


def test_another_folder_under_the_same_number_is_another_version(repository: Repository, publish: Any) -> None:
    first = publish(repository.root, "forams", 1)
    before = repository.newest("forams")
    first.rename(first.parent / ".old")
    publish(repository.root, "forams", 1, seed=2)
    assert repository.newest("forams") != before
