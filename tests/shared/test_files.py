"""Files and folders appear atomically: complete or not at all."""

from pathlib import Path

import pytest

from components.shared.files import atomic_folder, sha256_of_file, write_atomically


def test_a_file_is_replaced_only_by_a_complete_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", raise_disk_full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def raise_disk_full(_descriptor: int) -> None:
    raise OSError("disk full")


def test_a_folder_whose_writer_fails_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half way"):
        fail_half_way(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def fail_half_way(folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / "half").write_text("x")
        raise ValueError("half way")


def test_remains_of_a_killed_run_do_not_reach_the_new_folder(tmp_path: Path) -> None:
    remains = tmp_path / ".folder.unfinished"
    remains.mkdir()
    (remains / "old").write_text("x")
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "new").write_text("x")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "file").startswith("ba7816bf8f01cfea")
