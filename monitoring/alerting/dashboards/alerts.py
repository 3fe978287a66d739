"""The model filter and the alerts chart, which several dashboards contain."""

from monitoring.alerting.dashboards.panels import FULL, Chart, Query, states

MODEL = 'model=~"$model"'

ALERTS = Chart(
    "Alerts",
    "Pending and firing alerts over time. Each alert has an entry in monitoring/alerting/runbook.md.",
    (Query('max by (alertname, alertstate) (ALERTS{alertname=~"Taxonflow.*"})', "{{alertname}} {{alertstate}}"),),
    states,
    limit=1,
    span=FULL,
)
