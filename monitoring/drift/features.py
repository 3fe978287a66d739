"""Every feature that drift is watched on, and why the features of a group usually drift."""

from collections.abc import Iterable

from components.shared.images.descriptors import COLOUR_FEATURES, GREY_FEATURES, Feature

DISTANCES = ("embedding_distance", "neighbour_distance")
DOMINANT, STRANGE, TOGETHER = "dominant_species", "strange_specimens", "descriptors_together"

ANSWERS = {
    "confidence": Feature("Answers", "confidence of the answer"),
    DISTANCES[0]: Feature("Answers", "how far the embedding lies from what is usual for the species answered"),
    DISTANCES[1]: Feature("Answers", "how far the embedding lies from the nearest ones of the reference"),
    "species": Feature("Mix of species", "the species answered"),
    "unknown": Feature("Answers", "whether the slice is taken for a species that the model never saw"),
}
CONTRASTS = {
    DOMINANT: Feature("Mix of species", "whether it is the species that the window has most too much of"),
    STRANGE: Feature("Answers", "whether its specimen is unlike all of the reference"),
    TOGETHER: Feature("Descriptors together", "the descriptors along the direction in which the window differs most"),
}
"""Found anew for each window: see `monitoring.drift.window_features`."""

FEATURES = {**GREY_FEATURES, **COLOUR_FEATURES, **ANSWERS, **CONTRASTS}
NAMES = ("species", "unknown", DOMINANT, STRANGE)
"""Features that are names; the others are numbers."""

REASONS = {
    "Shape": "another crop, broken specimens, sediment taken for the specimen",
    "Grey levels": "other grey window or contrast, beam hardening, another embedding medium",
    "Sharpness and noise": "other scanner settings, reconstruction, voxel size, or a lossy format on the way",
    "Colour": "another camera, light or white balance, another background",
    "Answers": "species that the model never saw, or an image fault that harms the answers",
    "Mix of species": "another locality or another sender",
    "Descriptors together": "a fault too small for one descriptor: look at the features nearest to their thresholds",
}


def by_group(features: Iterable[str]) -> dict[str, list[str]]:
    """Returns those features that are in FEATURES by their group, groups in the order of REASONS."""
    known = [name for name in features if name in FEATURES]
    members = {group: [name for name in known if FEATURES[name].group == group] for group in REASONS}
    return {group: found for group, found in members.items() if found}


def explanation(feature: str) -> str:
    """Returns what a feature says and what usually moves it; nothing of one that is not in FEATURES."""
    if feature not in FEATURES:
        return ""
    group, meaning = FEATURES[feature]
    return f"{group}: {meaning}. Usual reason to drift: {REASONS[group]}."
