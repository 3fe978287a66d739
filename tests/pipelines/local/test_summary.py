"""The outcome of a run on the console."""

import io
from pathlib import Path

from rich.console import Console

from pipelines.local.summary import Summary, print_outcome


def test_a_path_in_brackets_is_printed_unchanged(tmp_path: Path) -> None:
    output, message = io.StringIO(), "/scans/[old]/[/new] does not exist"
    summary = Summary(outcome="bad_input", message=message, synthetic=False)
    print_outcome(summary, tmp_path / "[a]" / "summary.json", tmp_path, Console(file=output, width=200))
    assert message in output.getvalue()
    assert f"{tmp_path}/[a]/summary.json" in output.getvalue()
