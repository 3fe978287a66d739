"""What a window leaves on disk: its result as JSON, and Evidently's report as one HTML file that opens offline."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from components.shared.files import write_atomically
from monitoring.config import MonitorConfig
from monitoring.drift.detector import Judgement
from monitoring.drift.results import report_path, result_path

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
    keep_newest(_windows_of(result.model, out, report_path), config.kept_reports)
    keep_newest(_windows_of(result.model, out, result_path), config.kept_windows)
    return report


def _windows_of(model: str, out: Path, path_of: Callable[[Path, str], Path]) -> Iterator[Path]:
    """Yields one model's files: a pattern of `glob` for `forams` would take those of `forams-v2`, too."""
    pattern = path_of(out, "*")
    name = re.escape(pattern.name).replace(r"\*", re.escape(model) + r"-v\d+-\d+")
    return (path for path in out.glob(pattern.name) if re.fullmatch(name, path.name))


def keep_newest(files: Iterable[Path], kept: int) -> None:
    """Removes the oldest files beyond so many."""
    by_age = sorted(files, key=lambda path: path.stat().st_mtime_ns)
    for path in by_age[:-kept]:
        path.unlink(missing_ok=True)
