"""The Prometheus metrics of the monitor: MODEL_METRICS and MONITOR_METRICS define all metrics of `/metrics`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.config import MonitorConfig
from monitoring.drift.results import WindowResult
from monitoring.drift.status import ERROR_KINDS, STATES, ModelStatus, MonitorStatus

PREFIX = "taxonflow_drift"
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class ModelMetric:
    """A gauge for each model.

    Attributes:
        name: Name without PREFIX.
        help: Description for Prometheus and `docs/reference/metrics.md`.
        labels: Labels besides `model`.
        values: Function that returns the label values and the value of each sample.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[ModelStatus], Iterable[Sample]]


@dataclass(frozen=True)
class MonitorMetric:
    """A metric of the monitor itself: a counter if its name ends in `_total`, else a gauge; see ModelMetric."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[MonitorStatus, MonitorConfig], Iterable[Sample]]


def _window_value(value: Callable[[WindowResult], float | None]) -> Callable[[ModelStatus], Iterable[Sample]]:
    """Return a function that reads a value of the latest window; a value of None has no sample."""
    return lambda status: [
        ((), number) for result in (status.result,) if result and (number := value(result)) is not None
    ]


MODEL_METRICS = (
    ModelMetric(
        "score",
        "Drift score of a feature in the latest complete window, as defined by Evidently.",
        ("feature",),
        lambda status: [((each.feature,), each.score) for each in status.result.features] if status.result else [],
    ),
    ModelMetric(
        "threshold",
        "Drift threshold of a feature, calibrated on the specimens of the reference.",
        ("feature",),
        lambda status: [((each.feature,), each.threshold) for each in status.result.features] if status.result else [],
    ),
    ModelMetric(
        "drifted_features",
        "Number of features that drifted in the latest complete window.",
        (),
        _window_value(lambda result: len(result.drifted)),
    ),
    ModelMetric(
        "detected",
        "1 if any feature drifted in the latest complete window, else 0; absent before the first window.",
        (),
        _window_value(lambda result: float(bool(result.drifted))),
    ),
    ModelMetric(
        "consecutive_drifted_windows",
        "Number of consecutive drifted windows, including the latest.",
        (),
        lambda status: [((), status.consecutive_drifted)],
    ),
    ModelMetric(
        "feature_consecutive_drifted_windows",
        "Number of consecutive windows in which the feature drifted, including the latest.",
        ("feature",),
        lambda status: [((feature,), count) for feature, count in status.consecutive_by_feature.items()],
    ),
    ModelMetric(
        "state",
        f"1 for the current state of the model, else 0; the states are {', '.join(STATES)}.",
        ("state",),
        lambda status: [((state,), float(state == status.state)) for state in STATES],
    ),
    ModelMetric(
        "model_version",
        "Version of the model in the latest prediction.",
        (),
        lambda status: [((), status.version)],
    ),
    ModelMetric(
        "completed_windows",
        "Number of windows that this version of the model has completed.",
        (),
        lambda status: [((), status.windows)],
    ),
    ModelMetric(
        "window_slices",
        "Number of slices in the latest complete window.",
        (),
        _window_value(lambda result: result.slices),
    ),
    ModelMetric(
        "window_specimens",
        "Number of specimens in the latest complete window.",
        (),
        _window_value(lambda result: result.specimens),
    ),
    ModelMetric(
        "window_end_timestamp_seconds",
        "Time of the last prediction in the latest complete window, in seconds since 1970.",
        (),
        _window_value(lambda result: result.end),
    ),
    ModelMetric(
        "window_confidence",
        "Mean confidence of the predictions in the latest complete window.",
        (),
        _window_value(lambda result: result.confidence),
    ),
    ModelMetric(
        "window_unknown_ratio",
        "Share of slices predicted as unknown in the latest complete window.",
        (),
        _window_value(lambda result: result.unknown_ratio),
    ),
    ModelMetric(
        "window_unknown_specimen_ratio",
        "Share of named specimens flagged as unknown in the latest complete window; absent if requests name none.",
        (),
        _window_value(lambda result: result.unknown_specimen_ratio),
    ),
    ModelMetric(
        "reference_confidence",
        "Mean confidence of the predictions in the reference.",
        (),
        _window_value(lambda result: result.reference_confidence),
    ),
    ModelMetric(
        "reference_unknown_ratio",
        "Share of slices predicted as unknown in the reference.",
        (),
        _window_value(lambda result: result.reference_unknown_ratio),
    ),
    ModelMetric(
        "window_species_ratio",
        "Share of slices by predicted species in the latest complete window.",
        ("species",),
        lambda status: (
            [((name,), ratio) for name, ratio in status.result.species_ratios.items()] if status.result else []
        ),
    ),
    ModelMetric(
        "pending_slices",
        "Number of slices in the incomplete window.",
        (),
        lambda status: [((), status.pending_slices)],
    ),
    ModelMetric(
        "pending_specimens",
        "Number of specimens in the incomplete window.",
        (),
        lambda status: [((), status.pending_specimens)],
    ),
)

MONITOR_METRICS = (
    MonitorMetric(
        "models",
        "Number of models that are monitored; 0 while the monitor waits for a served model.",
        (),
        lambda status, _: [((), len(status.models))],
    ),
    MonitorMetric(
        "required_slices",
        "Smallest number of slices in a complete window.",
        (),
        lambda _, config: [((), config.window_slices)],
    ),
    MonitorMetric(
        "required_specimens",
        "Smallest number of specimens in a complete window.",
        (),
        lambda _, config: [((), config.window_specimens)],
    ),
    MonitorMetric(
        "last_read_timestamp_seconds",
        "Time of the latest read of the event files, in seconds since 1970.",
        (),
        lambda status, _: [((), status.read_at)],
    ),
    MonitorMetric(
        "events_total", "Drift events used since the monitor started.", (), lambda status, _: [((), status.events)]
    ),
    MonitorMetric(
        "duplicate_events_total",
        "Drift events skipped because their window already has their id.",
        (),
        lambda status, _: [((), status.duplicates)],
    ),
    MonitorMetric(
        "skipped_events_total",
        "Drift events skipped because their specimen has reached its limit in the window.",
        (),
        lambda status, _: [((), status.skipped_events)],
    ),
    MonitorMetric(
        "errors_total",
        f"Errors by kind: {', '.join(ERROR_KINDS)}; see TaxonflowMonitorErrors in the runbook.",
        ("kind",),
        lambda status, _: [((kind,), count) for kind, count in status.errors.items()],
    ),
)


class DriftCollector(Collector):
    """A collector that computes the metrics from the current status at each scrape, so no series is stale.

    Args:
        status: Function that returns the current status.
        config: Configuration of the monitor.
    """

    def __init__(self, status: Callable[[], MonitorStatus], config: MonitorConfig) -> None:
        self._status, self._config = status, config

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of both tables."""
        status = self._status()
        for metric in MODEL_METRICS:
            gauge = GaugeMetricFamily(f"{PREFIX}_{metric.name}", metric.help, labels=("model", *metric.labels))
            for model in status.models:
                for labels, value in metric.values(model):
                    gauge.add_metric((model.model, *labels), value)
            yield gauge
        for monitor_metric in MONITOR_METRICS:
            kind = CounterMetricFamily if monitor_metric.name.endswith("_total") else GaugeMetricFamily
            family = kind(f"{PREFIX}_{monitor_metric.name}", monitor_metric.help, labels=monitor_metric.labels)
            for labels, value in monitor_metric.values(status, self._config):
                family.add_metric(labels, value)
            yield family
