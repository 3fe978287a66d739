"""Prometheus metrics of the server, in addition to those of kserve."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("taxonflow_requests", "Predict requests by status code.", ["model", "status"])
LATENCY = Histogram(
    "taxonflow_request_seconds",
    "Time from the first byte of a predict request to its answer.",
    ["model"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SLICES = Counter("taxonflow_slices", "Slices in successful predict requests.", ["model", "version"])
OTHER_MODELS = Counter(
    "taxonflow_answers_of_other_versions",
    "Answers of another version than the one that was asked, by the version that answered; 0 is an unknown model.",
    ["model", "version"],
)
IN_FLIGHT = Gauge("taxonflow_requests_in_flight", "Predict requests in progress.")
VERSION = Gauge("taxonflow_model_version", "Newest version, which answers requests without a version.", ["model"])
FAILED_LOADS = Counter("taxonflow_failed_loads", "Versions that could not be loaded.", ["model"])
EVENTS_WRITTEN = Counter("taxonflow_drift_events_written", "Drift events written.")
EVENTS_DROPPED = Counter(
    "taxonflow_drift_events_dropped", "Drift events dropped because the queue or the disk was full."
)
