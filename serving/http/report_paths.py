"""Paths of health checks and metrics, which are answered although there are too many connections."""

LIVE_PATHS = ("/", "/healthz", "/v2/health/live")
READY_PATHS = ("/readyz", "/v2/health/ready")
METRICS_PATH = "/metrics"
REPORT_PATHS = frozenset({*LIVE_PATHS, *READY_PATHS, METRICS_PATH})
