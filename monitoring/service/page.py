"""The status page: the state of each model, its features against their thresholds, and its latest windows."""

import html
from collections.abc import Mapping
from datetime import UTC, datetime

from components.shared.pages import heading, line_chart, page, paragraph, table
from monitoring.config import MonitorConfig
from monitoring.drift.features import explanation
from monitoring.drift.results import FeatureDrift, WindowResult, read_result, report_path, window_name
from monitoring.drift.sentences import describe_model, describe_waiting
from monitoring.drift.status import DRIFT, INSUFFICIENT_DATA, NO_DRIFT, SUSTAINED_DRIFT, ModelStatus, MonitorStatus

REPORTS = "/reports/"
CHART_WINDOWS = 60
TABLE_WINDOWS = 12
_TONES = {INSUFFICIENT_DATA: "", NO_DRIFT: "good", DRIFT: "bad", SUSTAINED_DRIFT: "bad"}
_STYLE = """
.bar{display:inline-block;height:.7rem;background:#0a7d4b}.bar.drifted{background:#b3261e}
.scale{position:relative;width:20rem;background:#eef2f6}.scale .limit{position:absolute;left:50%;top:0;bottom:0;
border-left:2px solid #1d2733}p.state{font-size:1.15rem;font-weight:600}nav a{margin-right:1.2rem}
"""


def status_page(status: MonitorStatus, config: MonitorConfig) -> str:
    """Return the page as HTML, without scripts or external resources."""
    parts = [_links(config), _summary(status)]
    for model in status.models:
        parts += _model(model, config)
    return page("Taxonflow drift monitor", parts, _STYLE)


def _links(config: MonitorConfig) -> str:
    links = {"Latest report": f"{REPORTS}latest.html", "Metrics": "/metrics", **config.links}
    anchors = "".join(f'<a href="{html.escape(url)}">{html.escape(name)}</a>' for name, url in links.items())
    return f"<nav>{anchors}</nav>"


def _summary(status: MonitorStatus) -> str:
    errors = [f"{count} {kind.replace('_', ' ')}" for kind, count in status.errors.items() if count]
    events = f"{status.events:,} events read; event files last read {_format_time(status.read_at)}."
    remedy = f"Errors: {', '.join(errors)}. For each kind, see TaxonflowMonitorErrors in the runbook."
    sentence = describe_waiting(status)
    state = f'<p class="state">{html.escape(sentence[:1].upper() + sentence[1:])}.</p>' if sentence else ""
    return state + paragraph(events) + (paragraph(remedy, "bad") if errors else "")


def _model(status: ModelStatus, config: MonitorConfig) -> list[str]:
    sentence = html.escape(describe_model(status, config))
    parts = [
        heading(f"{status.model} version {status.version}"),
        f'<p class="state {_TONES[status.state]}">{sentence}</p>',
    ]
    if status.result:
        windows = _latest_windows(status, config)
        parts += [
            _features_table(status.result, status.consecutive_by_feature),
            _charts(windows),
            _windows_table(windows, config),
        ]
    return parts


def _features_table(result: WindowResult, consecutive: Mapping[str, int]) -> str:
    columns = ("feature", "score relative to threshold", "score", "threshold", "consecutive drifted windows")
    head = f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"
    by_ratio = sorted(result.features, key=lambda each: each.ratio, reverse=True)
    rows = "".join(_feature_row(each, consecutive.get(each.feature, 0)) for each in by_ratio)
    return f"<h2>Features of window {result.number}</h2><table>{head}{rows}</table>"


def _feature_row(feature: FeatureDrift, consecutive: int) -> str:
    """Return a table row; the line in the middle of the scale is the threshold."""
    bar_class, cell_class = ("drifted", "bad") if feature.drifted else ("", "")
    width = min(100.0, 50 * feature.ratio)
    numbers = "".join(
        f'<td class="number">{value}</td>' for value in (f"{feature.score:.3f}", f"{feature.threshold:.3f}")
    )
    return (
        f'<tr><td class="{cell_class}" title="{explanation(feature.feature)}">{html.escape(feature.feature)}</td>'
        '<td><div class="scale">'
        f'<span class="bar {bar_class}" style="width:{width:.1f}%"></span><span class="limit"></span></div></td>'
        f'{numbers}<td class="number">{consecutive}</td></tr>'
    )


def _latest_windows(status: ModelStatus, config: MonitorConfig) -> list[WindowResult]:
    """Return the latest windows with a stored result, oldest first."""
    numbers = range(max(1, status.windows - CHART_WINDOWS + 1), status.windows + 1)
    names = [window_name(status.model, status.version, number) for number in numbers]
    return [result for name in names if (result := read_result(config.out, name))]


def _charts(windows: list[WindowResult]) -> str:
    # A line needs two points.
    points = windows * 2 if len(windows) == 1 else windows
    if not points:
        return ""
    largest_ratios = [max(feature.ratio for feature in each.features) for each in points]
    confidence = {
        "window": [each.confidence for each in points],
        "reference": [each.reference_confidence for each in points],
    }
    unknown = {
        "window": [each.unknown_ratio for each in points],
        "reference": [each.reference_unknown_ratio for each in points],
    }
    specimens = [each.unknown_specimen_ratio for each in points if each.unknown_specimen_ratio is not None]
    if len(specimens) == len(points):
        unknown["specimens of the window"] = specimens
    return (
        heading("Windows over time")
        + line_chart("Largest score relative to threshold", {"score": largest_ratios, "threshold": [1.0] * len(points)})
        + line_chart("Mean confidence", confidence)
        + line_chart("Share of slices, and of named specimens, predicted as unknown", unknown)
    )


def _windows_table(windows: list[WindowResult], config: MonitorConfig) -> str:
    latest = list(reversed(windows[-TABLE_WINDOWS:]))
    rows = [
        (
            each.number,
            _format_time(each.end),
            each.slices,
            each.specimens,
            ", ".join(f.feature for f in each.drifted) or "none",
        )
        for each in latest
    ]
    windows_with_report = [each for each in latest if report_path(config.out, each.name).is_file()]
    links = "".join(
        f'<a href="{REPORTS}{html.escape(report_path(config.out, each.name).name)}">{each.number}</a> '
        for each in windows_with_report
    )
    header = ("window", "end", "slices", "specimens", "drifted features")
    return table(header, rows) + f"<p>Reports of windows: {links}</p>"


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds else "never"
