"""Errors end a step with one line and an exit code."""

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


def test_a_message_has_problem_expectation_and_remedy() -> None:
    error = TaxonflowError("zooms (0, 1, 1)", "positive millimetres", "Correct the header.")
    assert str(error) == "zooms (0, 1, 1): expected positive millimetres. Correct the header."


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [(BadSourceFileError("a"), EXIT_BAD_INPUT, "bad_input"), (TrainingError("a"), EXIT_FAILED, "failed")],
)
def test_a_deliberate_error_ends_a_step_with_one_line(
    error: TaxonflowError, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info, exit_on_error("ingest"):
        raise error
    assert exit_info.value.code == code
    assert capsys.readouterr().out == f"[ingest] {word}: a\n"


def test_a_full_disk_ends_a_step_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info, exit_on_error("ingest"):
        Path("/dev/full").write_bytes(b"slices")
    assert exit_info.value.code == EXIT_FAILED
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] failed: a file cannot be written (no space left on device)")


def test_an_unexpected_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error("ingest"):
        _ = 1 / 0
    with pytest.raises(FileNotFoundError), exit_on_error("ingest"):
        Path("/nowhere").read_bytes()
