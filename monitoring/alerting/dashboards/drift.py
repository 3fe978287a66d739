"""The dashboards of what comes in and what is answered."""

from collections.abc import Iterable

from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS
from monitoring.alerting.dashboards.alerts import ALERTS, MODEL
from monitoring.alerting.dashboards.panels import FULL, QUARTER, THIRD, Board, Chart, Query, bars, lines, number, stack
from monitoring.drift.features import ANSWERS, CONTRASTS, FEATURES, by_group

_EVERY_DESCRIPTOR = (*DESCRIPTORS, *COLOUR_DESCRIPTORS)


def _relative_score(features: str) -> str:
    """Returns PromQL of scores over thresholds: from 1 on a feature drifts."""
    chosen = f'{{{MODEL}, feature=~"{features}"}}'
    return f"taxonflow_drift_score{chosen} / taxonflow_drift_threshold{chosen}"


def _scores(title: str, features: Iterable[str], span: int = FULL) -> Chart:
    return Chart(
        title,
        "Drift score over its calibrated threshold in the latest window. From 1 on the feature drifts.",
        (Query(_relative_score("|".join(features)), "{{model}} {{feature}}"),),
        lines,
        limit=1,
        span=span,
    )


def _score_and_threshold(feature: str) -> Chart:
    chosen = f'{{{MODEL}, feature="{feature}"}}'
    return Chart(
        feature.replace("_", " "),
        f"What drifts: {FEATURES[feature].meaning}. The score of the latest window, and from which one on it drifts.",
        (
            Query(f"taxonflow_drift_score{chosen}", "{{model}} score"),
            Query(f"taxonflow_drift_threshold{chosen}", "{{model}} threshold"),
        ),
        lines,
        span=THIRD,
        height=7,
    )


def _against_reference(title: str, text: str, window: str, reference: str) -> Chart:
    both = (
        Query(f"{window}{{{MODEL}}}", "{{model}} latest window"),
        Query(f"{reference}{{{MODEL}}}", "{{model}} reference"),
    )
    return Chart(title, text, both, lines, unit="percentunit")


DRIFT = Board(
    "drift",
    "Taxonflow: drift",
    "Whether the slices that come in are still what the model was trained on.",
    {
        "Now": (
            Chart(
                "State",
                "What the latest window says; too little data is a state of its own.",
                (Query(f"taxonflow_drift_state{{{MODEL}}} == 1", "{{model}}: {{state}}"),),
                number,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Drifted features",
                "Features whose score reached its threshold in the latest window.",
                (Query(f"taxonflow_drift_drifted_features{{{MODEL}}}", "{{model}}"),),
                number,
                limit=1,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Windows in a row that drifted",
                "From two on drift is sustained and somebody is called.",
                (Query(f"taxonflow_drift_windows_in_a_row{{{MODEL}}}", "{{model}}"),),
                number,
                limit=2,
                span=QUARTER,
                height=6,
            ),
            Chart(
                "Age of the latest window",
                "Time since the last slice of the latest complete window was answered.",
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
                "Drift score over its calibrated threshold. From 1 on the feature drifts.",
                (Query(f"sort_desc({_relative_score('.+')})", "{{model}} {{feature}}"),),
                bars,
                limit=1,
                height=12,
            ),
            Chart(
                "Windows in a row, by feature",
                "In how many of the latest windows each feature drifted without a clean one between.",
                (Query(f"taxonflow_drift_feature_windows_in_a_row{{{MODEL}}}", "{{model}} {{feature}}"),),
                lines,
                limit=2,
                height=12,
            ),
            _scores("All features over time", (".+",)),
        ),
    },
)

PREDICTIONS = Board(
    "predictions",
    "Taxonflow: predictions",
    "What the model answers, against its answers to held-out specimens.",
    {
        "Answers": (
            _against_reference(
                "Confidence",
                "Mean confidence. Far below the reference the answers are suggestions.",
                "taxonflow_drift_window_confidence",
                "taxonflow_drift_reference_confidence",
            ),
            _against_reference(
                "Unknown",
                "Share of slices taken for species that the model never saw.",
                "taxonflow_drift_window_unknown_ratio",
                "taxonflow_drift_reference_unknown_ratio",
            ),
            Chart(
                "Species",
                "Share of slices by answered species in the latest window.",
                (Query(f"taxonflow_drift_window_species_ratio{{{MODEL}}}", "{{model}} {{species}}"),),
                stack,
                unit="percentunit",
                span=FULL,
                height=10,
            ),
        ),
        "Drift of the answers": tuple(
            _scores(f"{group} over thresholds", features, THIRD)
            for group, features in by_group((*ANSWERS, *CONTRASTS)).items()
        ),
        "Traffic": (
            Chart(
                "Slices answered",
                "By version of the model.",
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
                "How much each verdict rests on.",
                (
                    Query(f"taxonflow_drift_window_slices{{{MODEL}}}", "{{model}} slices"),
                    Query(f"taxonflow_drift_window_specimens{{{MODEL}}}", "{{model}} specimens"),
                ),
                lines,
            ),
        ),
    },
)

IMAGE_QUALITY = Board(
    "image-quality",
    "Taxonflow: image quality",
    "Descriptors of the slices, relative to what is usual for the species answered.",
    {
        "All": (_scores("Descriptors over their thresholds", _EVERY_DESCRIPTOR),),
        **{group: tuple(map(_score_and_threshold, names)) for group, names in by_group(_EVERY_DESCRIPTOR).items()},
    },
)
