"""The dashboards of drift, predictions and image quality."""

from collections.abc import Iterable

from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS
from monitoring.alerting.dashboards.alerts import ALERTS, MODEL
from monitoring.alerting.dashboards.panels import (
    FULL,
    QUARTER,
    THIRD,
    Chart,
    Dashboard,
    Query,
    bars,
    lines,
    number,
    stack,
)
from monitoring.drift.features import FEATURES, PREDICTION_FEATURES, WINDOW_FEATURES, by_group

_ALL_DESCRIPTORS = (*DESCRIPTORS, *COLOUR_DESCRIPTORS)


def _relative_score(features: str) -> str:
    """Return PromQL for scores divided by thresholds: a feature drifts from 1 upwards."""
    selector = f'{{{MODEL}, feature=~"{features}"}}'
    return f"taxonflow_drift_score{selector} / taxonflow_drift_threshold{selector}"


def _score_chart(title: str, features: Iterable[str], span: int = FULL) -> Chart:
    return Chart(
        title,
        "Drift score divided by its calibrated threshold in the latest window. A feature drifts from 1 upwards.",
        (Query(_relative_score("|".join(features)), "{{model}} {{feature}}"),),
        lines,
        limit=1,
        span=span,
    )


def _threshold_chart(feature: str) -> Chart:
    selector = f'{{{MODEL}, feature="{feature}"}}'
    return Chart(
        feature.replace("_", " "),
        f"Drift score and threshold in the latest window. Feature: {FEATURES[feature].meaning}.",
        (
            Query(f"taxonflow_drift_score{selector}", "{{model}} score"),
            Query(f"taxonflow_drift_threshold{selector}", "{{model}} threshold"),
        ),
        lines,
        span=THIRD,
        height=7,
    )


def _reference_chart(title: str, text: str, window: str, reference: str, *others: Query) -> Chart:
    queries = (
        Query(f"{window}{{{MODEL}}}", "{{model}} latest window"),
        Query(f"{reference}{{{MODEL}}}", "{{model}} reference"),
        *others,
    )
    return Chart(title, text, queries, lines, unit="percentunit")


DRIFT = Dashboard(
    "drift",
    "Taxonflow: drift",
    "Differences between incoming slices and the reference profile of the model.",
    {
        "Current state": (
            Chart(
                "State",
                "Verdict on the latest window, or insufficient data.",
                (Query(f"taxonflow_drift_state{{{MODEL}}} == 1", "{{model}}: {{state}}"),),
                number,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Drifted features",
                "Number of features whose score reached its threshold in the latest window.",
                (Query(f"taxonflow_drift_drifted_features{{{MODEL}}}", "{{model}}"),),
                number,
                limit=1,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Consecutive drifted windows",
                "Two or more are sustained drift, which fires a critical alert.",
                (Query(f"taxonflow_drift_consecutive_drifted_windows{{{MODEL}}}", "{{model}}"),),
                number,
                limit=2,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Age of the latest window",
                "Time since the last prediction of the latest complete window.",
                (Query(f"time() - taxonflow_drift_window_end_timestamp_seconds{{{MODEL}}}", "{{model}}"),),
                number,
                unit="s",
                span=QUARTER,
                height=6,
            ),
        ),
        "Alerts": (ALERTS,),
        "Features": (
            Chart(
                "Latest window, by feature",
                "Drift score divided by its calibrated threshold. A feature drifts from 1 upwards.",
                (Query(f"sort_desc({_relative_score('.+')})", "{{model}} {{feature}}"),),
                bars,
                limit=1,
                height=12,
            ),
            Chart(
                "Consecutive drifted windows, by feature",
                "Number of consecutive windows in which each feature drifted, including the latest.",
                (Query(f"taxonflow_drift_feature_consecutive_drifted_windows{{{MODEL}}}", "{{model}} {{feature}}"),),
                lines,
                limit=2,
                height=12,
            ),
            _score_chart("All features over time", (".+",)),
        ),
    },
)

PREDICTIONS = Dashboard(
    "predictions",
    "Taxonflow: predictions",
    "Predictions of the model, compared with its predictions on held-out specimens.",
    {
        "Predictions": (
            _reference_chart(
                "Confidence",
                "Mean confidence. If it is far below the reference, treat predictions as suggestions.",
                "taxonflow_drift_window_confidence",
                "taxonflow_drift_reference_confidence",
            ),
            _reference_chart(
                "Unknown",
                "Share of slices, and of specimens named in requests, predicted as unknown species.",
                "taxonflow_drift_window_unknown_ratio",
                "taxonflow_drift_reference_unknown_ratio",
                Query(f"taxonflow_drift_window_unknown_specimen_ratio{{{MODEL}}}", "{{model}} specimens"),
            ),
            Chart(
                "Species",
                "Share of slices by predicted species in the latest window.",
                (Query(f"taxonflow_drift_window_species_ratio{{{MODEL}}}", "{{model}} {{species}}"),),
                stack,
                unit="percentunit",
                span=FULL,
                height=10,
            ),
        ),
        "Drift of the predictions": tuple(
            _score_chart(f"{group}: scores relative to thresholds", features, THIRD)
            for group, features in by_group((*PREDICTION_FEATURES, *WINDOW_FEATURES)).items()
        ),
        "Traffic": (
            Chart(
                "Predicted slices",
                "Slices per second, by version of the model.",
                (
                    Query(
                        f"sum by (model, version) (rate(taxonflow_slices_total{{{MODEL}}}[5m]))",
                        "{{model}} v{{version}}",
                    ),
                ),
                lines,
                unit="cps",
            ),
            Chart(
                "Specimens and slices of the latest window",
                "Sample size of the latest verdict.",
                (
                    Query(f"taxonflow_drift_window_slices{{{MODEL}}}", "{{model}} slices"),
                    Query(f"taxonflow_drift_window_specimens{{{MODEL}}}", "{{model}} specimens"),
                ),
                lines,
            ),
        ),
    },
)

IMAGE_QUALITY = Dashboard(
    "image-quality",
    "Taxonflow: image quality",
    "Image descriptors of the slices, relative to the mean of the predicted species.",
    {
        "All": (_score_chart("Descriptors: scores relative to thresholds", _ALL_DESCRIPTORS),),
        **{group: tuple(map(_threshold_chart, names)) for group, names in by_group(_ALL_DESCRIPTORS).items()},
    },
)
