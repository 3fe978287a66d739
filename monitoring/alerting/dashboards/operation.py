"""The dashboards of the server and of the monitor."""

from monitoring.alerting.dashboards.alerts import ALERTS, MODEL
from monitoring.alerting.dashboards.panels import (
    FULL,
    HALF,
    QUARTER,
    THIRD,
    Chart,
    Dashboard,
    Query,
    bars,
    lines,
    number,
    stack,
)
from monitoring.alerting.rules import AVAILABILITY, BURN_WINDOWS

_BUDGET = 1 - AVAILABILITY
_MONTHLY_REQUESTS = f"sum by (model) (increase(taxonflow_requests_total{{{MODEL}}}[30d]))"
_MONTHLY_FAILURES = f'sum by (model) (increase(taxonflow_requests_total{{{MODEL}, status=~"5.."}}[30d]))'
_REMAINING_BUDGET = f"1 - ({_MONTHLY_FAILURES} or 0 * {_MONTHLY_REQUESTS}) / {_MONTHLY_REQUESTS} / {_BUDGET:.3f}"


def _latency(quantile: float) -> Query:
    rate = f"sum by (model, le) (rate(taxonflow_request_seconds_bucket{{{MODEL}}}[5m]))"
    return Query(f"histogram_quantile({quantile}, {rate})", f"{{{{model}}}} {quantile:.0%}")


SERVING = Dashboard(
    "serving",
    "Taxonflow: serving",
    f"Requests, errors relative to the objective of {AVAILABILITY:.1%}, and latency.",
    {
        "Objective": (
            Chart(
                "Remaining error budget",
                f"Share of the 30-day budget that is left. Server errors may affect {_BUDGET:.1%} of requests.",
                (Query(_REMAINING_BUDGET, "{{model}}"),),
                number,
                unit="percentunit",
                span=QUARTER,
            ),
            Chart(
                "Server error ratio",
                f"Share of requests with status 5xx, by window. The dashed line is the objective: {_BUDGET:.1%}.",
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
                "Requests per second, by status.",
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
                "Time from the first byte of a request to its response. The dashed line is the alert limit for 95%.",
                (
                    _latency(0.5),
                    Query(f"taxonflow:request_seconds:p95_rate5m{{{MODEL}}}", "{{model}} 95%"),
                    _latency(0.99),
                ),
                lines,
                unit="s",
                limit=1,
            ),
            Chart("In flight", "Requests in progress.", (Query("taxonflow_requests_in_flight", "{{pod}}"),), lines),
            Chart(
                "Slices",
                "Predicted slices per second.",
                (Query(f"sum by (model) (rate(taxonflow_slices_total{{{MODEL}}}[5m]))", "{{model}}"),),
                lines,
                unit="cps",
            ),
        ),
        "Model": (
            Chart(
                "Version",
                "Default version, for requests without a version.",
                (Query(f"taxonflow_model_version{{{MODEL}}}", "{{model}}"),),
                lines,
            ),
            Chart(
                "Failed model loads",
                "Loads that failed in the last hour. The previous version is still served.",
                (Query(f"sum by (model) (increase(taxonflow_failed_loads_total{{{MODEL}}}[1h]))", "{{model}}"),),
                lines,
                limit=1,
            ),
        ),
    },
    models="label_values(taxonflow_requests_total, model)",
)


def _progress(unit: str) -> Query:
    count = f"taxonflow_drift_pending_{unit}{{{MODEL}}}"
    return Query(f"{count} / on () group_left () max(taxonflow_drift_required_{unit})", f"{{{{model}}}} {unit}")


MONITOR = Dashboard(
    "monitor",
    "Taxonflow: monitor health",
    "Health of the monitor. Without it, drift goes undetected.",
    {
        "Monitor": (
            Chart(
                "Time since the last read",
                "Time since the monitor read the event files; a few seconds if it is healthy.",
                (Query("time() - taxonflow_drift_last_read_timestamp_seconds", "{{instance}}"),),
                number,
                unit="s",
                limit=60,
                span=THIRD,
            ),
            Chart(
                "Monitored models",
                "0 while the monitor waits for a served model.",
                (Query("taxonflow_drift_models", "{{instance}}"),),
                number,
                span=THIRD,
            ),
            Chart(
                "Pending window",
                "Share of the required slices and specimens.",
                (
                    _progress("slices"),
                    _progress("specimens"),
                ),
                bars,
                unit="percentunit",
                span=THIRD,
            ),
            Chart(
                "Completed windows",
                "Windows of the current version.",
                (Query(f"taxonflow_drift_completed_windows{{{MODEL}}}", "{{model}}"),),
                number,
                span=HALF,
            ),
            Chart(
                "Monitored version",
                "Version of the latest prediction.",
                (Query(f"taxonflow_drift_model_version{{{MODEL}}}", "{{model}}"),),
                number,
                span=HALF,
            ),
        ),
        "Alerts": (ALERTS,),
        "Events": (
            Chart(
                "Predicted slices, events written and read",
                "The three rates should be equal: drift in missing events is not detected.",
                (
                    Query("sum(rate(taxonflow_slices_total[5m]))", "slices predicted"),
                    Query("sum(rate(taxonflow_drift_events_written_total[5m]))", "events written"),
                    Query("sum(rate(taxonflow_drift_events_total[5m]))", "events read"),
                ),
                lines,
                unit="cps",
            ),
            Chart(
                "Unused events",
                "Events dropped by the server, duplicates, and events beyond the limit of a specimen, in 10 minutes.",
                (
                    Query("sum(increase(taxonflow_drift_events_dropped_total[10m]))", "dropped"),
                    Query("sum(increase(taxonflow_drift_duplicate_events_total[10m]))", "duplicates"),
                    Query("sum(increase(taxonflow_drift_skipped_events_total[10m]))", "skipped"),
                ),
                lines,
            ),
            Chart(
                "Errors",
                "Errors of the monitor, by kind, in 10 minutes.",
                (Query("sum by (kind) (increase(taxonflow_drift_errors_total[10m]))", "{{kind}}"),),
                lines,
                limit=1,
                span=FULL,
            ),
        ),
    },
)
