"""The features that are tested for drift, and the usual causes of drift in each group."""

from collections.abc import Iterable

from components.shared.images.descriptors import COLOUR_FEATURES, GREY_FEATURES, Feature

EMBEDDING_DISTANCES = ("embedding_distance", "neighbour_distance")
DOMINANT_SPECIES, OUTLIER_SPECIMENS = "dominant_species", "outlier_specimens"
COMBINED_DESCRIPTORS = "combined_descriptors"

PREDICTION_FEATURES = {
    "confidence": Feature("Predictions", "confidence of the prediction"),
    EMBEDDING_DISTANCES[0]: Feature("Predictions", "distance of the embedding from the mean of its predicted species"),
    EMBEDDING_DISTANCES[1]: Feature("Predictions", "distance of the embedding from its nearest reference embeddings"),
    "species": Feature("Species mix", "predicted species"),
    "unknown": Feature("Predictions", "whether the slice is predicted as an unknown species"),
}
WINDOW_FEATURES = {
    DOMINANT_SPECIES: Feature("Species mix", "whether its species is the one with the largest excess in the window"),
    OUTLIER_SPECIMENS: Feature("Predictions", "whether its specimen is unlike all specimens of the reference"),
    COMBINED_DESCRIPTORS: Feature(
        "Combined descriptors", "the descriptors projected on the direction in which the window differs most"
    ),
}
"""Features that are recomputed for each window: see `monitoring.drift.window_features`."""

FEATURES = {**GREY_FEATURES, **COLOUR_FEATURES, **PREDICTION_FEATURES, **WINDOW_FEATURES}
CATEGORICAL_FEATURES = ("species", "unknown", DOMINANT_SPECIES, OUTLIER_SPECIMENS)
"""All other features are numerical."""

REASONS = {
    "Shape": "a different crop, broken specimens, or sediment segmented as specimen",
    "Grey levels": "a different grey window or contrast, beam hardening, or another embedding medium",
    "Sharpness and noise": "different scanner settings, reconstruction or voxel size, or lossy compression",
    "Colour": "a different camera, light, white balance or background",
    "Predictions": "species outside the training set, or an image fault that affects the predictions",
    "Species mix": "another locality or another sender",
    "Combined descriptors": "a fault too small for a single descriptor: see the features closest to their thresholds",
}


def by_group(features: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that are in FEATURES by group, in the order of REASONS; empty groups are omitted."""
    names = [name for name in features if name in FEATURES]
    members = {group: [name for name in names if FEATURES[name].group == group] for group in REASONS}
    return {group: in_group for group, in_group in members.items() if in_group}


def explanation(feature: str) -> str:
    """Return the meaning of a feature and its usual causes of drift; empty if it is not in FEATURES."""
    if feature not in FEATURES:
        return ""
    group, meaning = FEATURES[feature]
    return f"{group}: {meaning}. Usual cause of drift: {REASONS[group]}."
