"""Errors end a step in one sentence; files are whole or not there."""

from pathlib import Path

import pytest

from components.shared.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    BadSourceFileError,
    TaxonflowError,
    TrainingError,
    exit_on_error,
)
from components.shared.files import atomic_folder, sha256_of_file, write_atomically
from components.shared.progress import Progress


def test_a_message_says_what_was_found_what_was_expected_and_what_to_do() -> None:
    error = TaxonflowError("zooms (0, 1, 1)", "positive millimetres", "Mend the header.")
    assert str(error) == "zooms (0, 1, 1): expected positive millimetres. Mend the header."


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(BadSourceFileError("a"), EXIT_BAD_INPUT, "bad_input"), (TrainingError("a"), EXIT_FAILED, "failed")],
)
def test_a_step_that_fails_on_purpose_prints_one_line_and_exits(
    error: TaxonflowError, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_error("ingest"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().out == f"[ingest] {word}: a\n"


def test_a_full_disk_ends_a_step_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_error("ingest"):
        Path("/dev/full").write_bytes(b"slices")
    assert ended.value.code == EXIT_FAILED
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] failed: a file cannot be written (no space left on device). Make room")


def test_an_unexpected_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error("ingest"):
        _ = 1 / 0
    with pytest.raises(FileNotFoundError), exit_on_error("ingest"):
        Path("/nowhere").read_bytes()


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", raising)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def raising(_descriptor: int) -> None:
    raise OSError("disk full")


def test_a_folder_whose_making_fails_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half way"):
        make_half(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def make_half(folder: Path) -> None:
    with atomic_folder(folder) as unfinished:
        (unfinished / "half").write_text("x")
        raise ValueError("half way")


def test_what_a_killed_run_left_does_not_reach_the_new_folder(tmp_path: Path) -> None:
    left = tmp_path / ".folder.unfinished"
    left.mkdir()
    (left / "old").write_text("x")
    with atomic_folder(tmp_path / "folder") as unfinished:
        (unfinished / "new").write_text("x")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "file").startswith("ba7816bf8f01cfea")


def test_progress_reports_the_end_and_not_every_unit(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("ingest", 1000, "specimens")
    for _ in range(1000):
        progress.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "[ingest] 1000/1000 specimens"
    assert len(lines) < 20
