"""All dashboards. A query may ask only for exported or recorded metrics; a test holds that."""

from monitoring.alerting.dashboards.drift import DRIFT, IMAGE_QUALITY, PREDICTIONS
from monitoring.alerting.dashboards.operation import MONITOR, SERVING

BOARDS = (DRIFT, PREDICTIONS, IMAGE_QUALITY, SERVING, MONITOR)
