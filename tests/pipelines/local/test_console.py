"""The console reads progress, messages and errors from a run's log."""

import io
from pathlib import Path

from rich.console import Console

from pipelines.local.console import ProgressConsole

LOG = """
09:25:24.096 - INFO - Executing task 'ingest-plan'
09:25:24.096 - INFO - Executing task 'ingest-cut'
    [ingest] 1/20 specimens
    [ingest] refused bad.nii.gz: it is empty
    2026-11-21 noise of a library
    [ingest] 20/20 specimens
09:25:24.096 - INFO - Executing task 'ingest'
09:25:24.096 - INFO - Executing task 'train'
09:25:24.096 - INFO - Executing task 'train'
    [train cnn_small] 2/2 epochs, validation accuracy 0.900
    [train cnn_small] failed: the loss is not a number any more
    [train resnet_small] failed: something that followed
"""


def test_the_console_prints_progress_and_messages_and_stores_the_log(tmp_path: Path) -> None:
    output = io.StringIO()
    log = ProgressConsole(Console(file=output, width=200), tmp_path / "run.log").follow(io.StringIO(LOG))
    assert "20/20 specimens" in output.getvalue()
    assert "refused bad.nii.gz: it is empty" in output.getvalue()
    assert "noise" not in output.getvalue()
    assert (tmp_path / "run.log").read_text() == LOG
    assert list(log.seconds) == ["ingest", "train"]
    assert log.first_error == ("failed", "the loss is not a number any more")


def test_a_terminal_has_progress_bars(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    ProgressConsole(console, tmp_path / "run.log").follow(io.StringIO(LOG))
    assert "\x1b[" in output.getvalue()
    assert "train cnn_small" in output.getvalue()


def test_the_outcome_has_the_last_line_of_a_failed_step(tmp_path: Path) -> None:
    lines = (
        "Executing task 'ingest'\n",
        "    sh: 3: python3: not found\n",
        "Task 'ingest' finished with status FAILURE\n",
    )
    log = ProgressConsole(Console(file=io.StringIO()), tmp_path / "log").follow(lines)
    assert "ingest: sh: 3: python3: not found" in str(vars(log))
