"""Recording rules and alerts: the source of both the plain rules file and the PrometheusRule."""

from dataclasses import dataclass
from typing import Any

RUNBOOK = "monitoring/alerting/runbook.md"
AVAILABILITY = 0.995
BURN_WINDOWS = ("5m", "30m", "1h", "6h")


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        name: Name in CamelCase; the runbook has a heading with this name.
        expr: PromQL expression.
        wait: Duration for which the expression must be true.
        severity: `critical` needs an immediate reaction, `warning` one in working hours.
        summary: One sentence, in which Prometheus replaces the labels.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str

    def to_rule(self) -> dict[str, Any]:
        """Return the rule in the format of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOK}#{self.name.lower()}"},
        }


DRIFT_ALERTS = (
    Alert(
        "TaxonflowDriftSustained",
        'taxonflow_drift_state{state="sustained_drift"} == 1',
        "0m",
        "critical",
        "Slices sent to {{ $labels.model }} have drifted from its reference in several consecutive windows.",
    ),
    Alert(
        "TaxonflowPredictionMixChanged",
        "max by (model) (taxonflow_drift_feature_consecutive_drifted_windows"
        '{feature=~"species|dominant_species"}) >= 2',
        "0m",
        "warning",
        "The species mix of {{ $labels.model }} differs from its reference in {{ $value }} consecutive windows.",
    ),
    Alert(
        "TaxonflowLowConfidence",
        'taxonflow_drift_feature_consecutive_drifted_windows{feature="confidence"} >= 2 and on (model) '
        "taxonflow_drift_window_confidence < taxonflow_drift_reference_confidence",
        "0m",
        "critical",
        "The confidence of {{ $labels.model }} is below its reference in {{ $value }} consecutive windows.",
    ),
    Alert(
        "TaxonflowUnknownRatioHigh",
        'taxonflow_drift_feature_consecutive_drifted_windows{feature="unknown"} >= 2 and on (model) '
        "taxonflow_drift_window_unknown_ratio > taxonflow_drift_reference_unknown_ratio",
        "0m",
        "critical",
        "{{ $labels.model }} predicts more unknown slices than on its reference in {{ $value }} consecutive windows.",
    ),
)

MONITOR_ALERTS = (
    Alert(
        "TaxonflowDriftEventsMissing",
        "sum(increase(taxonflow_slices_total[15m])) > 0 and sum(increase(taxonflow_drift_events_total[15m])) == 0",
        "15m",
        "warning",
        "The server predicts slices, but the monitor reads no drift events.",
    ),
    Alert(
        "TaxonflowMonitorWaiting",
        "taxonflow_drift_models == 0 and on () sum(increase(taxonflow_slices_total[15m])) > 0",
        "5m",
        "warning",
        "The server predicts slices, but the monitor has no model to compare them with.",
    ),
    Alert(
        "TaxonflowDriftEventsDropped",
        "sum(increase(taxonflow_drift_events_dropped_total[10m])) > 0",
        "0m",
        "warning",
        "The server dropped {{ $value | humanize }} drift events in 10 minutes.",
    ),
    Alert(
        "TaxonflowMonitorErrors",
        "sum by (kind) (increase(taxonflow_drift_errors_total[15m])) > 0",
        "0m",
        "warning",
        "The monitor had {{ $value | humanize }} errors of kind {{ $labels.kind }} in 15 minutes.",
    ),
)

SERVING_ALERTS = (
    Alert(
        "TaxonflowErrorBudgetFastBurn",
        "taxonflow:request_errors:ratio_rate1h > 14.4 * {budget} and on (model) "
        "taxonflow:request_errors:ratio_rate5m > 14.4 * {budget}",
        "2m",
        "critical",
        "{{ $value | humanizePercentage }} of requests to {{ $labels.model }} fail: the 30-day budget lasts two days.",
    ),
    Alert(
        "TaxonflowErrorBudgetSlowBurn",
        "taxonflow:request_errors:ratio_rate6h > 6 * {budget} and on (model) "
        "taxonflow:request_errors:ratio_rate30m > 6 * {budget}",
        "15m",
        "warning",
        "{{ $value | humanizePercentage }} of requests to {{ $labels.model }} fail: the 30-day budget lasts five days.",
    ),
    Alert(
        "TaxonflowHighLatency",
        "taxonflow:request_seconds:p95_rate5m > 1",
        "10m",
        "warning",
        "The 95th percentile latency of {{ $labels.model }} is {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "TaxonflowModelLoadFailed",
        # The first failure of a model creates its series, which has no increase yet.
        "sum by (model) (increase(taxonflow_failed_loads_total[15m])) > 0 or "
        "sum by (model) (taxonflow_failed_loads_total unless taxonflow_failed_loads_total offset 15m) > 0",
        "0m",
        "critical",
        "A new version of {{ $labels.model }} could not be loaded; the previous version is still served.",
    ),
)


def stale_alert(after: str) -> Alert:
    """Return the alert for a monitor that is missing or hangs for `after`, a Prometheus duration."""
    return Alert(
        "TaxonflowMonitorStale",
        "absent(taxonflow_drift_last_read_timestamp_seconds) or "
        "time() - taxonflow_drift_last_read_timestamp_seconds > 60",
        after,
        "critical",
        "The drift monitor has not read the event files for over a minute: drift goes undetected.",
    )


def rule_groups(stale_after: str = "2m") -> dict[str, Any]:
    """Return the content of a plain rules file.

    Args:
        stale_after: Duration for which the monitor may be missing.
    """
    budget = f"{1 - AVAILABILITY:.3f}"
    serving = [alert.to_rule() for alert in SERVING_ALERTS]
    for rule in serving:
        rule["expr"] = rule["expr"].replace("{budget}", budget)
    monitor = [stale_alert(stale_after), *MONITOR_ALERTS]
    groups = {
        "taxonflow-recording": _recording_rules(),
        "taxonflow-drift": [alert.to_rule() for alert in DRIFT_ALERTS],
        "taxonflow-monitor": [alert.to_rule() for alert in monitor],
        "taxonflow-serving": serving,
    }
    return {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}


def prometheus_rule() -> dict[str, Any]:
    """Return the same rules as a resource of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "taxonflow", "labels": {"app.kubernetes.io/part-of": "taxonflow"}},
        "spec": rule_groups(),
    }


def _recording_rules() -> list[dict[str, str]]:
    errors = [
        {
            "record": f"taxonflow:request_errors:ratio_rate{window}",
            "expr": f'(sum by (model) (rate(taxonflow_requests_total{{status=~"5.."}}[{window}])) '
            f"or 0 * sum by (model) (rate(taxonflow_requests_total[{window}]))) "
            f"/ sum by (model) (rate(taxonflow_requests_total[{window}]))",
        }
        for window in BURN_WINDOWS
    ]
    latency = {
        "record": "taxonflow:request_seconds:p95_rate5m",
        "expr": "histogram_quantile(0.95, sum by (model, le) (rate(taxonflow_request_seconds_bucket[5m])))",
    }
    return [*errors, latency]
