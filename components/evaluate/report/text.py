"""What a report says in sentences, for a reader who is no engineer."""

from collections.abc import Sequence

from components.evaluate.report.findings import Findings, ModelFindings, SpeciesFindings
from components.evaluate.report.tables import percent

GLOSSARY = {
    "Specimen": "one individual, scanned or photographed; all its slices are in one and the same part of the data.",
    "Slice": "a cut through the scan of a specimen, as a grey picture. The model names slices one by one.",
    "Test specimens": "individuals that were kept aside: no network, weight or threshold was chosen with their help.",
    "Found": "of the slices of a species, the share that is named so (recall).",
    "Right when named": "of the slices that are named as a species, the share that is of it (precision).",
    "F1": "one number for both, their harmonic mean; the macro F1 is its mean over the species.",
    "Top-3": "share of slices whose species is among the three best answers.",
    "95 % interval": "where the true share lies with a chance of 95 %, were other specimens drawn for the test.",
    "Calibration error": "mean gap between how sure the model says it is and how often it is right.",
    "Ensemble": "several networks that answer together; this is what is served.",
}
STAGES = (
    "How the networks were trained, stage by stage, on validation slices. These chose the epochs that are kept, so the "
    "figures are kind; the ones above, of test slices, are the ones to believe."
)
_FEW = 3


def headline(findings: Findings) -> str:
    """The verdict in a few words."""
    return "This model may be used" if findings.card.gate.passed else "This model must not be used yet"


def summary(findings: Findings) -> list[str]:
    """What was measured, in sentences."""
    card, species = findings.card, findings.species
    slices, specimens = sum(found.slices for found in species), sum(found.specimens for found in species)
    right = sum(found.specimens_right for found in species)
    sentences = [
        f"It was shown {slices:,} slices of {specimens:,} {findings.provenance.material} that it had never seen, "
        f"of {len(species)} species.",
        f"It names {percent(findings.models[0].accuracy)} of the slices right{_interval(findings)}.",
        f"When the slices of a specimen are taken together, it names {right:,} of the {specimens:,} specimens right."
        f"{_specimens_claim(findings)}",
    ]
    weak = [found for found in weakest(species) if found.recall < 1]
    if weak:
        named = ", ".join(f"{found.species} ({percent(found.recall)})" for found in weak)
        sentences.append(f"It finds the slices of these species least often: {named}.")
    if card.gate.accuracy < 1 and findings.pairs:
        pair = findings.pairs[0]
        sentences.append(f"Most often it takes {pair.truth} for {pair.answer}, {times(pair.slices)}.")
    return sentences


def _interval(findings: Findings) -> str:
    interval = findings.card.metrics.get("accuracy_interval")
    if not interval:
        return ""
    low, high = interval
    return f"; with other specimens of these species one would expect {percent(low)} to {percent(high)}"


def _specimens_claim(findings: Findings) -> str:
    """What so many test specimens can show, and how many more it would take."""
    lower, needed = (findings.card.metrics.get(key) for key in ("specimen_accuracy_lower", "specimens_needed"))
    if lower is None:
        return ""
    threshold = percent(findings.card.gate.threshold)
    shown = f" So few can show no more than {percent(lower)} (with 95 % certainty)"
    if needed == 0:
        return f" That shows at least {percent(lower)} (with 95 % certainty)."
    if needed is None:
        return f"{shown}."
    return f"{shown}; {needed:,} more, all named right, would show {threshold}."


def weakest(species: Sequence[SpeciesFindings], most: int = _FEW) -> list[SpeciesFindings]:
    """The species that are found least often, the least first; a species without test slices is left out."""
    return sorted((found for found in species if found.slices), key=lambda found: found.recall)[:most]


def comparison(findings: Findings) -> list[str]:
    """How the ensemble compares with its best network, and what each network is good and bad at."""
    ensemble, *networks = findings.models
    best = max(networks, key=lambda model: model.accuracy)
    gain = ensemble.accuracy - best.accuracy
    if abs(gain) < 0.0005:
        words = f"The ensemble is as good as the best network, {best.name}, on the test slices."
    else:
        better = "better" if gain > 0 else "worse"
        words = (
            f"The ensemble, which was chosen before anyone looked at these slices, is {100 * abs(gain):.1f} points "
            f"{better} on them than the best network, {best.name}."
        )
    return [words, *(_strength(network, networks, findings) for network in networks if len(networks) > 1)]


def _strength(network: ModelFindings, networks: Sequence[ModelFindings], findings: Findings) -> str:
    """Where a network is ahead of all others and where it is behind."""
    leads: list[str] = []
    lags: list[str] = []
    for label, species in enumerate(findings.card.classes):
        own = network.recall[label]
        others = [other.recall[label] for other in networks if other is not network]
        if own > max(others):
            leads.append(f"{species} (+{100 * (own - max(others)):.0f})")
        if own < min(others):
            lags.append(f"{species} (-{100 * (min(others) - own):.0f})")
    ahead = f"ahead of every other network on {', '.join(leads)}" if leads else "ahead on no species"
    behind = f"behind on {', '.join(lags)}" if lags else "behind on none"
    return f"{network.name} is {ahead}; {behind} (points of slices found)."


def comparison_words() -> str:
    """How to read the table of comparisons."""
    return (
        "p is how often two equally good models would differ so much by luck, corrected for the number of comparisons. "
        "By slice (McNemar's test) it is too small, because the slices of a specimen are alike; by specimen is the one "
        "to believe."
    )


def candidate_words() -> str:
    """How the rule was chosen."""
    return (
        "The rules that were tried on validation slices, the simplest first. Taken was the simplest that is behind the "
        "best by no more than one standard error and no worse than the best network alone."
    )


def reliability_words(findings: Findings) -> str:
    """What the reliability diagram shows."""
    error = findings.card.metrics.get("ece")
    known = "" if error is None else f" The mean gap (calibration error) is {percent(error)}."
    sure = [group for group in findings.reliability if group.low >= 0.9]
    share = ""
    if sure:
        share = f" When it says it is 90 % sure or more, it is right in {percent(sure[-1].accuracy)} of the cases."
    return (
        "A trustworthy model that says it is 80 % sure is right in 80 % of such cases: the bars reach the dashed line. "
        f"The number in a bar counts its slices.{share}{known}"
    )


def unknown_words(findings: Findings) -> str:
    """What is known about species that the model never saw."""
    curve = findings.unknown
    if curve is None:
        return "Not measured in this run: no slices of species that the model never saw were at hand."
    return (
        f"The model was also shown {curve.unseen:,} slices of species that it never learned. Of these it calls "
        f"{percent(curve.unseen_at_threshold)} unknown, and of the slices of the species it knows "
        f"{percent(curve.known_at_threshold)} (the dot). Chance would be the dashed line; the area under the curve is "
        f"{curve.auroc:.3f} (0.5 is chance, 1 is perfect). The rest of the unseen ones get the name of a known species."
    )


def gallery_words(by: str, method: str) -> str:
    """How to read the gallery of mistakes."""
    return (
        "The wrong answers of which the model was most sure, two of one specimen at most. Orange marks where the "
        f"network {by} found its reasons ({method}): in the middle for the wrong answer, on the right for the truth. "
        "Reasons in the rock, at the edge of the picture or in a scanner's ring are a warning; reasons in the "
        "specimen's structure mean that two species look alike in this cut."
    )


def times(count: int) -> str:
    """Counts in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
