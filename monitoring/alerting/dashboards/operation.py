"""The dashboards of the machinery: the server and the monitor."""

from monitoring.alerting.dashboards.alerts import ALERTS, MODEL
from monitoring.alerting.dashboards.panels import FULL, QUARTER, Board, Chart, Query, bars, lines, number, stack
from monitoring.alerting.rules import AVAILABILITY, BURN_WINDOWS

_BUDGET = 1 - AVAILABILITY
_OF_MONTH = f"sum by (model) (increase(taxonflow_requests_total{{{MODEL}}}[30d]))"
_FAILED_OF_MONTH = f'sum by (model) (increase(taxonflow_requests_total{{{MODEL}, status=~"5.."}}[30d]))'
_BUDGET_LEFT = f"1 - ({_FAILED_OF_MONTH} or 0 * {_OF_MONTH}) / {_OF_MONTH} / {_BUDGET:.3f}"


def _latency(quantile: float) -> Query:
    rate = f"sum by (model, le) (rate(taxonflow_request_seconds_bucket{{{MODEL}}}[5m]))"
    return Query(f"histogram_quantile({quantile}, {rate})", f"{{{{model}}}} {quantile:.0%}")


SERVING = Board(
    "serving",
    "Taxonflow: serving",
    f"Requests, errors against the objective of {AVAILABILITY:.1%}, and latency.",
    {
        "Objective": (
            Chart(
                "Error budget left",
                f"Of the {_BUDGET:.1%} of a month's requests that may fail by the server's fault.",
                (Query(_BUDGET_LEFT, "{{model}}"),),
                number,
                unit="percentunit",
                span=QUARTER,
            ),
            Chart(
                "Share of failed requests",
                f"By the server's fault, over several windows. The dashed line is the objective's {_BUDGET:.1%}.",
                tuple(
                    Query(f"taxonflow:request_errors:ratio_rate{window}{{{MODEL}}}", f"{{{{model}}}} {window}")
                    for window in BURN_WINDOWS
                ),
                lines,
                unit="percentunit",
                limit=round(_BUDGET, 4),
                span=FULL - QUARTER,
            ),
        ),
        "Alerts": (ALERTS,),
        "Requests": (
            Chart(
                "Requests",
                "By status of the answer.",
                (
                    Query(
                        f"sum by (model, status) (rate(taxonflow_requests_total{{{MODEL}}}[5m]))",
                        "{{model}} {{status}}",
                    ),
                ),
                stack,
                unit="reqps",
            ),
            Chart(
                "Latency",
                "From the first byte of a request to its answer. From one second for one in twenty on it is slow.",
                (
                    _latency(0.5),
                    Query(f"taxonflow:request_seconds:p95_rate5m{{{MODEL}}}", "{{model}} 95%"),
                    _latency(0.99),
                ),
                lines,
                unit="s",
                limit=1,
            ),
            Chart("In flight", "Requests being answered.", (Query("taxonflow_requests_in_flight", "{{pod}}"),), lines),
            Chart(
                "Slices",
                "Answered a second.",
                (Query(f"sum by (model) (rate(taxonflow_slices_total{{{MODEL}}}[5m]))", "{{model}}"),),
                lines,
                unit="cps",
            ),
        ),
        "Model": (
            Chart(
                "Version",
                "That requests without one are answered by.",
                (Query(f"taxonflow_model_version{{{MODEL}}}", "{{model}}"),),
                lines,
            ),
            Chart(
                "Versions that could not be loaded",
                "In the last hour. The version before goes on answering.",
                (Query(f"sum by (model) (increase(taxonflow_failed_loads_total{{{MODEL}}}[1h]))", "{{model}}"),),
                lines,
                limit=1,
            ),
        ),
    },
    models="label_values(taxonflow_requests_total, model)",
)


def _filled(what: str) -> Query:
    pending, required = f"taxonflow_drift_pending_{what}{{{MODEL}}}", f"max(taxonflow_drift_required_{what})"
    return Query(f"{pending} / on () group_left () {required}", f"{{{{model}}}} {what}")


MONITOR = Board(
    "monitor",
    "Taxonflow: monitor health",
    "Whether somebody watches: without the monitor drift goes unnoticed.",
    {
        "Watch": (
            Chart(
                "Time since the events were looked at",
                "Every few seconds while the monitor is well.",
                (Query("time() - taxonflow_drift_read_timestamp_seconds", "{{instance}}"),),
                number,
                unit="s",
                limit=60,
                span=QUARTER,
            ),
            Chart(
                "Window being filled",
                "Share of the slices and of the specimens that it needs.",
                (
                    _filled("slices"),
                    _filled("specimens"),
                ),
                bars,
                unit="percentunit",
                span=QUARTER,
            ),
            Chart(
                "Windows judged",
                "By the version that answers.",
                (Query(f"taxonflow_drift_windows{{{MODEL}}}", "{{model}}"),),
                number,
                span=QUARTER,
            ),
            Chart(
                "Version watched",
                "The one that answered last.",
                (Query(f"taxonflow_drift_model_version{{{MODEL}}}", "{{model}}"),),
                number,
                span=QUARTER,
            ),
        ),
        "Alerts": (ALERTS,),
        "Events": (
            Chart(
                "Slices answered, events written and read",
                "The three belong together: a gap is drift that nobody sees.",
                (
                    Query("sum(rate(taxonflow_slices_total[5m]))", "slices answered"),
                    Query("sum(rate(taxonflow_drift_events_written_total[5m]))", "events written"),
                    Query("sum(rate(taxonflow_drift_events_total[5m]))", "events read"),
                ),
                lines,
                unit="cps",
            ),
            Chart(
                "Events not used",
                "Dropped by the server, twice in a window, or beyond a specimen's share.",
                (
                    Query("sum(increase(taxonflow_drift_events_dropped_total[10m]))", "dropped"),
                    Query("sum(increase(taxonflow_drift_duplicate_events_total[10m]))", "duplicates"),
                    Query("sum(increase(taxonflow_drift_left_out_events_total[10m]))", "left out"),
                ),
                lines,
            ),
            Chart(
                "Faults",
                "What the monitor met and went on in spite of, by kind, in ten minutes.",
                (Query("sum by (kind) (increase(taxonflow_drift_faults_total[10m]))", "{{kind}}"),),
                lines,
                limit=1,
                span=FULL,
            ),
        ),
    },
)
