"""Progress is printed as log lines."""

import pytest

from components.shared.progress import Progress


def test_progress_reports_the_end_and_not_every_unit(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("ingest", 1000, "specimens")
    for _ in range(1000):
        progress.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "[ingest] 1000/1000 specimens"
    assert len(lines) < 20
