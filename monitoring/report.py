"""What a window leaves on disk: its result as JSON, and Evidently's report as one HTML file that opens offline."""

import glob
from pathlib import Path

from components.shared.files import write_atomically
from monitoring.config import MonitorConfig
from monitoring.drift import Judgement
from monitoring.results import report_path, result_path

LATEST = "latest.html"


def write_window(judgement: Judgement, config: MonitorConfig) -> Path:
    """Writes a window's report, the copy `latest.html`, and its result; removes the oldest beyond the kept ones.

    Returns:
        The report's path.

    Raises:
        OSError: the disk is full or not writable.
    """
    out, result = config.out, judgement.result
    html = judgement.snapshot.get_html_str(as_iframe=False).encode()
    report = report_path(out, result.name)
    write_atomically(report, html)
    write_atomically(out / LATEST, html)
    result.write(result_path(out, result.name))
    keep_newest(out, f"report-{glob.escape(result.model)}-v*.html", config.kept_reports)
    keep_newest(out, f"window-{glob.escape(result.model)}-v*.json", config.kept_windows)
    return report


def keep_newest(folder: Path, pattern: str, kept: int) -> None:
    """Removes the oldest files of a pattern beyond so many."""
    by_age = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    for path in by_age[:-kept]:
        path.unlink(missing_ok=True)
