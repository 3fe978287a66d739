"""The monitor's gauges for Prometheus: METRICS is the one table of them, `/metrics` shows them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.config import MonitorConfig
from monitoring.drift.results import WindowResult
from monitoring.drift.status import FAULTS, STATES, ModelStatus, MonitorStatus

PREFIX = "taxonflow_drift"
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class ModelMetric:
    """A gauge of each model: its name after PREFIX, what it says, its labels after `model`, and its values."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[ModelStatus], Iterable[Sample]]


@dataclass(frozen=True)
class MonitorMetric:
    """A metric of the monitor itself; a counter where its name ends in `_total`."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[MonitorStatus, MonitorConfig], Iterable[Sample]]


def _of_window(value: Callable[[WindowResult], float]) -> Callable[[ModelStatus], Iterable[Sample]]:
    return lambda status: [((), value(status.result))] if status.result else []


MODEL_METRICS = (
    ModelMetric(
        "score",
        "Drift score of a feature in the latest complete window, as Evidently defines it.",
        ("feature",),
        lambda status: [((each.feature,), each.score) for each in status.result.features] if status.result else [],
    ),
    ModelMetric(
        "threshold",
        "Score from which on the feature drifts, calibrated on the reference's specimens.",
        ("feature",),
        lambda status: [((each.feature,), each.threshold) for each in status.result.features] if status.result else [],
    ),
    ModelMetric(
        "drifted_features",
        "Features that drifted in the latest complete window.",
        (),
        _of_window(lambda result: len(result.drifted)),
    ),
    ModelMetric(
        "detected",
        "1 where any feature drifted in the latest complete window, else 0; absent before the first window.",
        (),
        _of_window(lambda result: float(bool(result.drifted))),
    ),
    ModelMetric(
        "windows_in_a_row",
        "Windows in a row that drifted, the latest included.",
        (),
        lambda status: [((), status.drifted_in_a_row)],
    ),
    ModelMetric(
        "feature_windows_in_a_row",
        "Windows in a row in which the feature drifted, the latest included.",
        ("feature",),
        lambda status: [((feature,), count) for feature, count in status.features_in_a_row.items()],
    ),
    ModelMetric(
        "state",
        "1 for the state that the model is in: too_little_data, no_drift, drift, sustained_drift.",
        ("state",),
        lambda status: [((state,), float(state == status.state)) for state in STATES],
    ),
    ModelMetric(
        "model_version",
        "Version of the model that answered last.",
        (),
        lambda status: [((), status.version)],
    ),
    ModelMetric(
        "windows",
        "Windows that this version of the model has completed.",
        (),
        lambda status: [((), status.windows)],
    ),
    ModelMetric(
        "window_slices",
        "Slices of the latest complete window.",
        (),
        _of_window(lambda result: result.slices),
    ),
    ModelMetric(
        "window_specimens",
        "Specimens of the latest complete window.",
        (),
        _of_window(lambda result: result.specimens),
    ),
    ModelMetric(
        "window_end_timestamp_seconds",
        "When the last slice of the latest complete window was answered, seconds since 1970.",
        (),
        _of_window(lambda result: result.end),
    ),
    ModelMetric(
        "window_confidence",
        "Mean confidence of the answers in the latest complete window.",
        (),
        _of_window(lambda result: result.confidence),
    ),
    ModelMetric(
        "window_unknown_ratio",
        "Share of slices taken for unknown species in the latest complete window.",
        (),
        _of_window(lambda result: result.unknown_share),
    ),
    ModelMetric(
        "reference_confidence",
        "Mean confidence of the answers in the reference.",
        (),
        _of_window(lambda result: result.reference_confidence),
    ),
    ModelMetric(
        "reference_unknown_ratio",
        "Share of slices taken for unknown species in the reference.",
        (),
        _of_window(lambda result: result.reference_unknown_share),
    ),
    ModelMetric(
        "window_species_ratio",
        "Share of slices by answered species in the latest complete window.",
        ("species",),
        lambda status: (
            [((name,), share) for name, share in status.result.species_shares.items()] if status.result else []
        ),
    ),
    ModelMetric(
        "pending_slices",
        "Slices of the window that is being filled.",
        (),
        lambda status: [((), status.pending_slices)],
    ),
    ModelMetric(
        "pending_specimens",
        "Specimens of the window that is being filled.",
        (),
        lambda status: [((), status.pending_specimens)],
    ),
)

MONITOR_METRICS = (
    MonitorMetric("required_slices", "Slices that a window needs.", (), lambda _, config: [((), config.window_slices)]),
    MonitorMetric(
        "required_specimens", "Specimens that a window needs.", (), lambda _, config: [((), config.window_specimens)]
    ),
    MonitorMetric(
        "read_timestamp_seconds",
        "When the event files were last looked at, seconds since 1970.",
        (),
        lambda status, _: [((), status.read_at)],
    ),
    MonitorMetric(
        "events_total", "Drift events taken in since the monitor started.", (), lambda status, _: [((), status.events)]
    ),
    MonitorMetric(
        "duplicate_events_total",
        "Drift events left out because their window holds their id already.",
        (),
        lambda status, _: [((), status.duplicates)],
    ),
    MonitorMetric(
        "left_out_events_total",
        "Drift events left out because their specimen fills its share of the window.",
        (),
        lambda status, _: [((), status.left_out)],
    ),
    MonitorMetric(
        "faults_total",
        f"What went wrong, by kind: {', '.join(FAULTS)}; the runbook's TaxonflowMonitorFaults says what each is.",
        ("kind",),
        lambda status, _: [((kind,), count) for kind, count in status.faults.items()],
    ),
)


class DriftCollector(Collector):
    """Turns the monitor's status into metrics at each scrape, so that nothing stale stays behind.

    Args:
        status: gives the status of now.
        config: the monitor's configuration.
    """

    def __init__(self, status: Callable[[], MonitorStatus], config: MonitorConfig) -> None:
        self._status, self._config = status, config

    def collect(self) -> Iterator[Metric]:
        """Yields every metric of the two tables."""
        status = self._status()
        for each in MODEL_METRICS:
            family = GaugeMetricFamily(f"{PREFIX}_{each.name}", each.help, labels=("model", *each.labels))
            for model in status.models:
                for labels, value in each.values(model):
                    family.add_metric((model.model, *labels), value)
            yield family
        for own in MONITOR_METRICS:
            kind = CounterMetricFamily if own.name.endswith("_total") else GaugeMetricFamily
            found = kind(f"{PREFIX}_{own.name}", own.help, labels=own.labels)
            for labels, value in own.values(status, self._config):
                found.add_metric(labels, value)
            yield found
