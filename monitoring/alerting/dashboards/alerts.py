"""What several dashboards share: the chosen models, and the alerts."""

from monitoring.alerting.dashboards.panels import FULL, Chart, Query, states

MODEL = 'model=~"$model"'

ALERTS = Chart(
    "Alerts",
    "When an alert was pending or firing. monitoring/alerting/runbook.md says what to do about each.",
    (Query('max by (alertname, alertstate) (ALERTS{alertname=~"Taxonflow.*"})', "{{alertname}} {{alertstate}}"),),
    states,
    limit=1,
    span=FULL,
)
