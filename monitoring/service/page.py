"""The page for whoever is on duty: what state each model is in, why, and since when."""

import html
from collections.abc import Mapping
from datetime import UTC, datetime

from components.shared.pages import heading, line_chart, page, paragraph, table
from monitoring.config import MonitorConfig
from monitoring.drift.features import explanation
from monitoring.drift.results import FeatureDrift, WindowResult, read_result, report_path, window_name
from monitoring.drift.sentences import describe_model
from monitoring.drift.status import DRIFT, NO_DRIFT, SUSTAINED, TOO_LITTLE, ModelStatus, MonitorStatus

REPORTS = "/reports/"
SHOWN_WINDOWS = 60
LISTED_WINDOWS = 12
_TONES = {TOO_LITTLE: "", NO_DRIFT: "good", DRIFT: "bad", SUSTAINED: "bad"}
_STYLE = """
.bar{display:inline-block;height:.7rem;background:#0a7d4b}.bar.drifted{background:#b3261e}
.scale{position:relative;width:20rem;background:#eef2f6}.scale .limit{position:absolute;left:50%;top:0;bottom:0;
border-left:2px solid #1d2733}p.state{font-size:1.15rem;font-weight:600}nav a{margin-right:1.2rem}
"""


def console_page(status: MonitorStatus, config: MonitorConfig) -> str:
    """Returns the page as HTML, without any script or outside resource."""
    parts = [_links(config), _watch(status)]
    for model in status.models:
        parts += _model(model, config)
    return page("Taxonflow drift monitor", parts, _STYLE)


def _links(config: MonitorConfig) -> str:
    links = {"Latest report": f"{REPORTS}latest.html", "Metrics": "/metrics", **config.links}
    anchors = "".join(f'<a href="{html.escape(url)}">{html.escape(name)}</a>' for name, url in links.items())
    return f"<nav>{anchors}</nav>"


def _watch(status: MonitorStatus) -> str:
    faults = [f"{count} {kind.replace('_', ' ')}" for kind, count in status.faults.items() if count]
    seen = f"{status.events:,} events read; last look at the traffic {_moment(status.read_at)}."
    said = f"Faults: {', '.join(faults)}. The runbook's TaxonflowMonitorFaults says what to do about each."
    return paragraph(seen) + (paragraph(said, "bad") if faults else "")


def _model(status: ModelStatus, config: MonitorConfig) -> list[str]:
    sentence = html.escape(describe_model(status, config))
    parts = [
        heading(f"{status.model} version {status.version}"),
        f'<p class="state {_TONES[status.state]}">{sentence}</p>',
    ]
    if status.result:
        windows = _windows(status, config)
        parts += [_features(status.result, status.features_in_a_row), _charts(windows), _list(windows, config)]
    return parts


def _features(result: WindowResult, in_a_row: Mapping[str, int]) -> str:
    columns = ("feature", "score over its threshold", "score", "threshold", "windows in a row")
    head = f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"
    ordered = sorted(result.features, key=lambda each: each.ratio, reverse=True)
    rows = "".join(_feature(each, in_a_row.get(each.feature, 0)) for each in ordered)
    return f"<h2>Window {result.number}, by feature</h2><table>{head}{rows}</table>"


def _feature(feature: FeatureDrift, in_a_row: int) -> str:
    """Returns a row; the line in the middle of the scale is the threshold."""
    tone, width = ("drifted", "bad") if feature.drifted else ("", ""), min(100.0, 50 * feature.ratio)
    numbers = "".join(
        f'<td class="number">{value}</td>' for value in (f"{feature.score:.3f}", f"{feature.threshold:.3f}")
    )
    return (
        f'<tr><td class="{tone[1]}" title="{explanation(feature.feature)}">{html.escape(feature.feature)}</td>'
        '<td><div class="scale">'
        f'<span class="bar {tone[0]}" style="width:{width:.1f}%"></span><span class="limit"></span></div></td>'
        f'{numbers}<td class="number">{in_a_row}</td></tr>'
    )


def _windows(status: ModelStatus, config: MonitorConfig) -> list[WindowResult]:
    """Returns the latest windows whose results are still on disk, oldest first."""
    numbers = range(max(1, status.windows - SHOWN_WINDOWS + 1), status.windows + 1)
    names = [window_name(status.model, status.version, number) for number in numbers]
    return [result for name in names if (result := read_result(config.out, name))]


def _charts(windows: list[WindowResult]) -> str:
    # A line needs two points.
    shown = windows * 2 if len(windows) == 1 else windows
    if not shown:
        return ""
    strongest = [max(feature.ratio for feature in each.features) for each in shown]
    return (
        heading("Windows over time")
        + line_chart("Strongest feature over its threshold", {"score": strongest, "threshold": [1.0] * len(shown)})
        + line_chart(
            "Mean confidence",
            {"window": [each.confidence for each in shown], "reference": [each.reference_confidence for each in shown]},
        )
        + line_chart(
            "Share of unknown",
            {
                "window": [each.unknown_share for each in shown],
                "reference": [each.reference_unknown_share for each in shown],
            },
        )
    )


def _list(windows: list[WindowResult], config: MonitorConfig) -> str:
    latest = list(reversed(windows[-LISTED_WINDOWS:]))
    rows = [
        (
            each.number,
            _moment(each.end),
            each.slices,
            each.specimens,
            ", ".join(f.feature for f in each.drifted) or "none",
        )
        for each in latest
    ]
    kept = [each for each in latest if report_path(config.out, each.name).is_file()]
    links = "".join(
        f'<a href="{REPORTS}{html.escape(report_path(config.out, each.name).name)}">{each.number}</a> ' for each in kept
    )
    return table(("window", "until", "slices", "specimens", "drifted"), rows) + f"<p>Reports of windows: {links}</p>"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if seconds else "not yet"
