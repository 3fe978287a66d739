"""All dashboards. Queries may only use exported or recorded metrics; a test checks this."""

from monitoring.alerting.dashboards.drift import DRIFT, IMAGE_QUALITY, PREDICTIONS
from monitoring.alerting.dashboards.operation import MONITOR, SERVING

DASHBOARDS = (DRIFT, PREDICTIONS, IMAGE_QUALITY, SERVING, MONITOR)
