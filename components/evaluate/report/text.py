"""The sentences of a report, for readers who are not engineers."""

from collections.abc import Iterator, Sequence

from components.evaluate.measurement import ModelResult
from components.evaluate.report.findings import MISTAKES_PER_SPECIMEN, Findings
from components.evaluate.report.table import percent
from components.shared.contracts.model_score import ModelScore, SpeciesScore
from components.shared.contracts.specimen_threshold import UNKNOWN_SHARE

GLOSSARY = {
    "Specimen": "one individual, scanned or photographed. All its slices are in the same part of the data.",
    "Slice": "a section through the scan of a specimen as a grey image, or a photograph. The model identifies slices.",
    "Test specimens": "individuals that were set aside: no network, weight or threshold was selected with them. In "
    "cross-validation each is set aside from the model of its fold.",
    "Fold": "one of several parts of the specimens. For each fold there is a model that was trained without it and is "
    "tested on it (cross-validation), so that every specimen is tested once.",
    "Validation specimens": "individuals with which networks, rules and thresholds were selected.",
    "Accuracy": "share of the slices that are identified correctly.",
    "Recall": "share of the slices of a species that are identified as this species.",
    "Precision": "share of the slices identified as a species that belong to this species.",
    "F1": "harmonic mean of precision and recall; the macro F1 is its mean over the species.",
    "Top-3 accuracy": "share of the slices whose species is among the three highest scores.",
    "95 % interval": "range that contains the true value in 95 % of such tests, each with other specimens.",
    "95 % lower bound": "value that the true accuracy exceeds in 95 % of such tests.",
    "Confidence": "score of the predicted species, 0 to 100 %.",
    "Calibration error": "mean difference between confidence and accuracy.",
    "Ensemble": "one or more networks with a rule that combines their answers; the ensemble is the deployed model.",
}
STAGES = (
    "Training of the networks by stage, measured on validation slices. The epochs to keep were selected on these "
    "slices, so these accuracies are optimistic; those on the test slices above are not."
)
AGGREGATION_TEXTS = {
    "mean": "the mean score of its slices",
    "median": "the median score of its slices",
    "squashed_mean": "the mean of a logistic function of its slices' scores",
    "share_above": "the share of its slices that are flagged",
    "upper_quarter": "the mean of the highest quarter of its slices' scores",
    "lower_quarter": "the mean of the lowest quarter of its slices' scores",
}
_WEAKEST = 3


def headline(findings: Findings) -> str:
    """Return the verdict of the gate as a heading."""
    return "This model may be deployed" if findings.card.gate.passed else "This model must not be deployed"


def summary(findings: Findings) -> list[str]:
    """Return the main results as sentences."""
    score, species = findings.score, findings.score.species
    slices = sum(row.slices for row in species.values())
    low, high = score.accuracy_interval
    tested_species = sum(row.slices > 0 for row in species.values())
    sample = f"{slices:,} slices of {score.specimens:,} {findings.provenance.material} of {tested_species} species"
    sentences = [
        f"The model was tested on {sample}. {_origin_of_figures(findings)}",
        f"The model identifies {percent(score.accuracy)} of the slices correctly (95 % interval {percent(low)} to "
        f"{percent(high)}).",
        f"By the vote of their slices, {correct_specimens(findings):,} of the {score.specimens:,} specimens are "
        f"identified correctly. {_lower_bound(findings)}",
    ]
    weak = [(name, row) for name, row in weakest(species) if row.recall is not None and row.recall < 1]
    if weak:
        names = ", ".join(f"{name} ({percent(row.recall)})" for name, row in weak)
        sentences.append(f"Species with the lowest recall: {names}.")
    if findings.pairs:
        pair = findings.pairs[0]
        slices_text = "1 slice" if pair.slices == 1 else f"{pair.slices:,} slices"
        sentences.append(f"The most frequent confusion: {pair.truth} is identified as {pair.answer} in {slices_text}.")
    return [*sentences, *_rare_species(findings)]


def _origin_of_figures(findings: Findings) -> str:
    """Return a sentence on the specimens on which the tested models were trained."""
    score = findings.score
    return score.folds.describe(score.specimens) if score.folds else "None of these specimens was used in training."


def folds_text(findings: Findings) -> str:
    """Return the explanation of the table of folds."""
    return (
        "Each fold's model was trained without the specimens of the fold; its rule and temperature were selected on "
        "the fold's own validation specimens. The served model answers the examples, the reference profile and the "
        f"comparison with the champion on the {findings.card.held_out_split} split."
    )


def _rare_species(findings: Findings) -> Iterator[str]:
    """Yield a sentence on the species with fewer than three specimens, trained ones and unseen ones."""
    rare, classes = findings.provenance.info.rare_species, findings.card.classes
    for is_trained, treatment in (
        (False, "not trained; the model has to recognize them as unknown"),
        (True, "not tested"),
    ):
        names = ", ".join(f"{name} ({count})" for name, count in rare.items() if (name in classes) is is_trained)
        if names:
            yield f"Species with fewer than three specimens, {treatment}: {names}."


def correct_specimens(findings: Findings) -> int:
    """Return the number of test specimens that the vote of their slices identifies correctly."""
    return round(findings.score.specimen_accuracy * findings.score.specimens)


def _lower_bound(findings: Findings) -> str:
    """Return the lower bound of the accuracy by specimen, and how many specimens would show the required accuracy."""
    score = findings.score
    bound = f"With {score.specimens:,} specimens the 95 % lower bound is {percent(score.specimen_accuracy_lower)}."
    if not score.specimens_needed:
        return bound
    threshold = percent(findings.card.gate.threshold)
    specimens = f"{score.specimens_needed:,} further specimens, all identified correctly,"
    return f"{bound} {specimens} would raise it to {threshold}."


def weakest(species: dict[str, SpeciesScore], most: int = _WEAKEST) -> list[tuple[str, SpeciesScore]]:
    """Return the species with the lowest recall, the lowest first; species without test slices are left out."""
    rows = [(name, row.recall, row) for name, row in species.items() if row.recall is not None]
    return [(name, row) for name, _, row in sorted(rows, key=lambda entry: entry[1])[:most]]


def network_comparison(findings: Findings) -> list[str]:
    """Return the difference of the ensemble from its best network, and the best and worst species of each network."""
    ensemble, *networks = findings.measurement.models
    best = max(networks, key=lambda model: model.score.accuracy)
    gain = ensemble.score.accuracy - best.score.accuracy
    if abs(gain) < 0.0005:
        sentence = f"On the test slices the ensemble is as accurate as the best single network, {best.name}."
    else:
        sentence = (
            f"On the test slices the ensemble is {100 * abs(gain):.1f} percentage points "
            f"{'more' if gain > 0 else 'less'} accurate than the best single network, {best.name}. It was selected "
            f"{'without these slices' if findings.score.folds else 'before these slices were read'}."
        )
    return [sentence, *(_strengths(network, networks, findings) for network in networks if len(networks) > 1)]


def _strengths(network: ModelResult, networks: Sequence[ModelResult], findings: Findings) -> str:
    """Return the species for which a network has the highest and the lowest recall of all networks."""
    highest: list[str] = []
    lowest: list[str] = []
    for label, species in enumerate(findings.card.classes):
        own = network.recall[label]
        others = [other.recall[label] for other in networks if other is not network]
        if own > max(others):
            highest.append(f"{species} (+{100 * (own - max(others)):.0f})")
        if own < min(others):
            lowest.append(f"{species} (-{100 * (min(others) - own):.0f})")
    return (
        f"{network.name}: highest recall of all networks for {', '.join(highest) or 'no species'}; lowest for "
        f"{', '.join(lowest) or 'no species'} (difference from the next network in percentage points)."
    )


def significance_text() -> str:
    """Return the explanation of the table of comparisons."""
    return (
        "p is the probability of a difference at least this large between two equally accurate models, corrected for "
        "the number of comparisons. The p-value by slice (McNemar's test) is too small because the slices of a "
        "specimen are correlated; use the p-value by specimen."
    )


def candidate_text() -> str:
    """Return the explanation of the table of rules."""
    return (
        "The rules that were compared on validation slices, the simplest first. The simplest rule was selected whose "
        "accuracy is within one standard error of the best rule and not below that of the best single network."
    )


def reliability_text(findings: Findings) -> str:
    """Return the explanation of the reliability diagram."""
    highest = findings.measurement.reliability[-1]
    return (
        "If a model is well calibrated, 80 % of its answers with a confidence of 80 % are correct: the bars reach the "
        f"dashed line. The number in a bar is its number of slices. Of the answers with a confidence of "
        f"{percent(highest.low)} or more, {percent(highest.accuracy)} are correct. The mean difference between "
        f"confidence and accuracy (calibration error) is {percent(findings.score.ece)}."
    )


def unknown_text(findings: Findings) -> str:
    """Return the results on species outside the training data."""
    score, unseen = findings.score, len(findings.measurement.open_set.unseen_scores)
    if score.unknown_auroc is None:
        return "Not measured: the data set has no slices of species outside the training data."
    model, known_slices, remark = "model", "slices", ""
    if score.folds:
        model, known_slices, remark = "served model", "validation slices", ", on which its threshold was fitted"
    return (
        f"The {model} was also tested on {unseen:,} slices of species outside its training data. It flags "
        f"{percent(score.unknown_flagged_unseen)} of them as unknown, and {percent(score.unknown_flagged_known)} of "
        f"the {known_slices} of known species (the dot){remark}. The dashed line is chance; the area under the curve "
        f"is {score.unknown_auroc:.3f} (0.5 is chance, 1 is perfect). Slices of unseen species that are not flagged "
        "are identified as one of the known species."
    )


def unknown_specimens_text(findings: Findings) -> Iterator[str]:
    """Yield sentences on specimens of unknown species: thresholds and results."""
    score, threshold = findings.score, findings.card.specimen_open_set
    if threshold is None:
        return
    aggregation = AGGREGATION_TEXTS[threshold.aggregation]
    yield (
        f"A specimen is flagged as unknown by {aggregation}, with thresholds for 1 to {threshold.slices[-1]:,} slices "
        f"that were fitted on {threshold.specimens:,} known validation specimens so that at most "
        f"{percent(threshold.flagged_known)} of known specimens are expected to be flagged."
    )
    if threshold.flagged_known > UNKNOWN_SHARE:
        yield (
            f"{threshold.specimens:,} validation specimens are too few for {percent(UNKNOWN_SHARE)}; add specimens of "
            "the known species."
        )
    if score.unknown_specimens_flagged_known is not None:
        yield f"Flagged: {percent(score.unknown_specimens_flagged_known)} of the known specimens{_unseen_share(score)}."


def _unseen_share(score: ModelScore) -> str:
    if score.unknown_specimen_auroc is None:
        return ""
    return (
        f" and {percent(score.unknown_specimens_flagged_unseen)} of the {score.unknown_specimens:,} specimens of "
        f"unseen species; the area under the ROC curve is {score.unknown_specimen_auroc:.3f}"
    )


def gallery_text(network: str, method: str, findings: Findings) -> str:
    """Return the explanation of the gallery of mistakes.

    Args:
        network: Name of the network whose activation maps are shown.
        method: Method of the maps.
        findings: Contents of the report.
    """
    remark = ""
    if findings.score.folds:
        remark = (
            " The answers are those of the folds' models; the maps are those of the served model, which was trained on "
            "most of these specimens."
        )
    return (
        f"The wrong answers with the highest confidence, at most {MISTAKES_PER_SPECIMEN} of one specimen. Orange marks "
        f"the regions that network {network} used ({method}): in the middle for the predicted species, on the right "
        "for the true species. Marks in the rock, at the edge of the image or in a ring artefact of the scanner "
        "suggest that the network uses the wrong features; marks in the structure of the specimen suggest that the two "
        f"species look alike in this section.{remark}"
    )
