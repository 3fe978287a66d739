"""Recording rules and alerts: the one source of the plain rules file and of the PrometheusRule."""

from dataclasses import dataclass
from typing import Any

RUNBOOK = "monitoring/alerting/runbook.md"
AVAILABILITY = 0.995
BURN_WINDOWS = ("5m", "30m", "1h", "6h")


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        name: CamelCase; the runbook has a heading of this name.
        expr: PromQL.
        wait: how long the expression must hold.
        severity: `critical` wakes somebody, `warning` waits for the morning.
        summary: one sentence with the labels filled in by Prometheus.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str

    def to_rule(self) -> dict[str, Any]:
        """Returns the rule as Prometheus reads it."""
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
        "Slices sent to {{ $labels.model }} have drifted from its reference for several windows in a row.",
    ),
    Alert(
        "TaxonflowPredictionMixChanged",
        'max by (model) (taxonflow_drift_feature_windows_in_a_row{feature=~"species|dominant_species"}) >= 2',
        "0m",
        "warning",
        "{{ $labels.model }} answers with another mix of species than on its reference, {{ $value }} windows in a row.",
    ),
    Alert(
        "TaxonflowLowConfidence",
        'taxonflow_drift_feature_windows_in_a_row{feature="confidence"} >= 2 and on (model) '
        "taxonflow_drift_window_confidence < taxonflow_drift_reference_confidence",
        "0m",
        "critical",
        "{{ $labels.model }} is less sure of its answers than on its reference, {{ $value }} windows in a row.",
    ),
    Alert(
        "TaxonflowUnknownShareHigh",
        'taxonflow_drift_feature_windows_in_a_row{feature="unknown"} >= 2 and on (model) '
        "taxonflow_drift_window_unknown_ratio > taxonflow_drift_reference_unknown_ratio",
        "0m",
        "critical",
        "{{ $labels.model }} takes more slices for unknown than on its reference, {{ $value }} windows in a row.",
    ),
)

MONITOR_ALERTS = (
    Alert(
        "TaxonflowTrafficWithoutDriftData",
        "sum(increase(taxonflow_slices_total[15m])) > 0 and sum(increase(taxonflow_drift_events_total[15m])) == 0",
        "15m",
        "warning",
        "Slices are answered, but the monitor reads no drift events.",
    ),
    Alert(
        "TaxonflowDriftEventsDropped",
        "sum(increase(taxonflow_drift_events_dropped_total[10m])) > 0",
        "0m",
        "warning",
        "The server dropped {{ $value | humanize }} drift events in ten minutes.",
    ),
    Alert(
        "TaxonflowMonitorFaults",
        "sum by (kind) (increase(taxonflow_drift_faults_total[15m])) > 0",
        "0m",
        "warning",
        "The monitor met {{ $value | humanize }} faults of the kind {{ $labels.kind }} in 15 minutes.",
    ),
)

SERVING_ALERTS = (
    Alert(
        "TaxonflowErrorBudgetBurnsFast",
        "taxonflow:request_errors:ratio_rate1h > 14.4 * {budget} and on (model) "
        "taxonflow:request_errors:ratio_rate5m > 14.4 * {budget}",
        "2m",
        "critical",
        "{{ $labels.model }} fails {{ $value | humanizePercentage }} of its requests: a month's budget in two days.",
    ),
    Alert(
        "TaxonflowErrorBudgetBurnsSlowly",
        "taxonflow:request_errors:ratio_rate6h > 6 * {budget} and on (model) "
        "taxonflow:request_errors:ratio_rate30m > 6 * {budget}",
        "15m",
        "warning",
        "{{ $labels.model }} fails {{ $value | humanizePercentage }} of its requests: a month's budget in five days.",
    ),
    Alert(
        "TaxonflowSlow",
        "taxonflow:request_seconds:p95_rate5m > 1",
        "10m",
        "warning",
        "One in twenty requests to {{ $labels.model }} takes longer than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "TaxonflowModelLoadFailed",
        # a model's first failure makes the series, and nothing has increased yet
        "sum by (model) (increase(taxonflow_failed_loads_total[15m])) > 0 or "
        "sum by (model) (taxonflow_failed_loads_total unless taxonflow_failed_loads_total offset 15m) > 0",
        "0m",
        "critical",
        "A new version of {{ $labels.model }} could not be loaded; the old one keeps answering.",
    ),
)


def stale_alert(after: str) -> Alert:
    """Returns the alert of a monitor that is gone or hangs for `after`, a Prometheus duration."""
    return Alert(
        "TaxonflowMonitorStale",
        "absent(taxonflow_drift_read_timestamp_seconds) or time() - taxonflow_drift_read_timestamp_seconds > 60",
        after,
        "critical",
        "The drift monitor has not looked at the traffic for a while: drift would go unnoticed.",
    )


def rule_groups(stale_after: str = "2m") -> dict[str, Any]:
    """Returns the content of a plain rules file.

    Args:
        stale_after: how long the monitor may be away.
    """
    budget = f"{1 - AVAILABILITY:.3f}"
    serving = [alert.to_rule() for alert in SERVING_ALERTS]
    for rule in serving:
        rule["expr"] = rule["expr"].replace("{budget}", budget)
    monitor = [stale_alert(stale_after), *MONITOR_ALERTS]
    groups = {
        "taxonflow-recorded": _recorded(),
        "taxonflow-drift": [alert.to_rule() for alert in DRIFT_ALERTS],
        "taxonflow-monitor": [alert.to_rule() for alert in monitor],
        "taxonflow-serving": serving,
    }
    return {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}


def prometheus_rule() -> dict[str, Any]:
    """Returns the same rules as the resource that the Prometheus operator reads."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "taxonflow", "labels": {"app.kubernetes.io/part-of": "taxonflow"}},
        "spec": rule_groups(),
    }


def _recorded() -> list[dict[str, str]]:
    errors = [
        {
            "record": f"taxonflow:request_errors:ratio_rate{window}",
            "expr": f'(sum by (model) (rate(taxonflow_requests_total{{status=~"5.."}}[{window}])) '
            f"or 0 * sum by (model) (rate(taxonflow_requests_total[{window}]))) "
            f"/ sum by (model) (rate(taxonflow_requests_total[{window}]))",
        }
        for window in BURN_WINDOWS
    ]
    slow = {
        "record": "taxonflow:request_seconds:p95_rate5m",
        "expr": "histogram_quantile(0.95, sum by (model, le) (rate(taxonflow_request_seconds_bucket[5m])))",
    }
    return [*errors, slow]
