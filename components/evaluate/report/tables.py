"""The tables of a report, each defined once for the HTML page, Markdown, CSV and JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple

import numpy as np

from components.evaluate.measurement import ModelResult
from components.evaluate.report.findings import Findings, training_stages
from components.evaluate.report.table import Cell, Table, percent
from components.shared.slices import SPLITS, UNSEEN

METRICS = {
    "accuracy": "accuracy",
    "top3": "top-3 accuracy",
    "macro_precision": "precision, mean over the species",
    "macro_recall": "recall, mean over the species",
    "macro_f1": "F1, mean over the species (macro F1)",
    "weighted_precision": "precision, weighted by slices",
    "weighted_recall": "recall, weighted by slices",
    "weighted_f1": "F1, weighted by slices",
    "auc": "area under the ROC curve, one species against the rest",
    "ece": "calibration error (ECE)",
    "brier": "Brier score, 0 is best and 2 is worst",
    "specimen_accuracy": "accuracy by specimen, from the vote of its slices",
    "specimen_accuracy_lower": "accuracy by specimen, exact 95 % lower bound",
    "specimens_needed": "further correct specimens with which this bound reaches the required accuracy",
    "unknown_auroc": "area under the ROC curve, known against unseen species",
    "unknown_flagged_known": "share of known slices flagged as unknown",
    "unknown_flagged_unseen": "share of unseen slices flagged as unknown",
    "unknown_specimen_auroc": "area under the ROC curve, specimens of known against those of unseen species",
    "unknown_specimens_flagged_known": "share of known specimens flagged as unknown",
    "unknown_specimens_flagged_unseen": "share of unseen specimens flagged as unknown",
}
"""Names of the ensemble's metrics in the report."""

SIGNIFICANCE_LEVEL = 0.05


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def all_tables(findings: Findings) -> tuple[Table, ...]:
    """Return every table of a report."""
    tables = [
        models_table(findings),
        metrics_table(findings),
        recall_table(findings),
        comparisons_table(findings),
        candidates_table(findings),
        species_table(findings),
        pairs_table(findings),
        mistakes_table(findings),
        reliability_table(findings),
        confusion_table(findings),
        data_table(findings),
        networks_table(findings),
        stages_table(findings),
        origin_table(findings),
    ]
    if findings.score.unknown_auroc is not None:
        tables += [unknown_curve_table(findings), unseen_species_table(findings)]
    if findings.score.folds:
        tables.append(folds_table(findings))
    return tuple(tables)


def models_table(findings: Findings) -> Table:
    """Return the metrics of the models with the best and worst species of each."""
    classes = findings.card.classes
    accuracy = ("accuracy %", "95 % interval from %", "95 % interval to %")
    header = ("model", *accuracy, "top-3 accuracy %", "macro F1 %", "best species", "worst species", "ms per slice")
    return Table("models", header, tuple(_model_row(model, classes) for model in findings.measurement.models))


def _model_row(model: ModelResult, classes: Sequence[str]) -> tuple[Cell, ...]:
    labels = [label for label in range(len(classes)) if not math.isnan(model.recall[label])]
    order = sorted(labels, key=lambda label: (model.recall[label], classes[label]))
    worst, best = _recall_text(order[:2], classes, model), _recall_text(order[:-3:-1], classes, model)
    score, interval = model.score, model.score.accuracy_interval or (math.nan, math.nan)
    return (model.name, score.accuracy, *interval, score.top3, score.macro_f1, best, worst, model.milliseconds)


def _recall_text(labels: Iterable[int], classes: Sequence[str], model: ModelResult) -> str:
    return ", ".join(f"{classes[label]} {percent(float(model.recall[label]))}" for label in labels)


def metrics_table(findings: Findings) -> Table:
    """Return the metrics of the ensemble that have a value, with their 95 % intervals if they have one."""
    score = findings.score.model_dump(mode="json")
    rows: list[tuple[Cell, ...]] = [
        (title, score[name], *score.get(f"{name}_interval", ("", "")))
        for name, title in METRICS.items()
        if score[name] is not None
    ]
    return Table("metrics", ("metric", "value", "95 % interval from", "95 % interval to"), tuple(rows))


def folds_table(findings: Findings) -> Table:
    """Return the results of the models of cross-validation."""
    header = ("fold", "specimens", "slices", "accuracy %", "rule", "temperature")
    answers, folds = findings.measurement.answers, findings.score.folds
    rows: list[tuple[Cell, ...]] = [
        (
            fold.number + 1,
            len(np.unique(answers.slices.specimens[fold.rows])),
            len(fold.rows),
            accuracy,
            fold.ensemble.rule.describe(findings.card.classes),
            fold.ensemble.temperature,
        )
        for fold, accuracy in zip(answers.folds, folds.accuracy_by_fold if folds else (), strict=True)
    ]
    return Table("folds", header, tuple(rows))


def recall_table(findings: Findings) -> Table:
    """Return the recall of each species by each model."""
    models = findings.measurement.models
    rows: list[tuple[Cell, ...]] = [
        (species, *(float(model.recall[label]) for model in models))
        for label, species in enumerate(findings.card.classes)
    ]
    return Table("recall", ("species", *(f"{model.name} %" for model in models)), tuple(rows))


def comparisons_table(findings: Findings) -> Table:
    """Return the differences between models with their significance."""
    header = ("model", "compared with", "difference of accuracy %", "p by slice", "p by specimen", "significant")
    rows: list[tuple[Cell, ...]] = [
        (
            pair.first,
            pair.second,
            pair.difference,
            pair.mcnemar_corrected,
            pair.by_specimen_corrected,
            "yes" if pair.by_specimen_corrected < SIGNIFICANCE_LEVEL else "no",
        )
        for pair in findings.measurement.comparisons
    ]
    return Table("comparisons", header, tuple(rows))


def candidates_table(findings: Findings) -> Table:
    """Return the rules that were compared on validation slices."""
    header = ("rule", "validation accuracy %", "log loss", "behind the best %", "standard error %", "selected")
    rows: list[tuple[Cell, ...]] = [
        (
            candidate.rule.describe(findings.card.classes),
            candidate.accuracy,
            candidate.log_loss,
            candidate.gap,
            candidate.gap_error,
            "yes" if candidate.is_selected else "",
        )
        for candidate in findings.candidates
    ]
    return Table("rules", header, tuple(rows))


def species_table(findings: Findings) -> Table:
    """Return the metrics of the ensemble on each species."""
    metrics = ("species", "slices", "recall %", "precision %", "F1 %")
    header = (*metrics, "specimens", "specimens correct", "most often confused with")
    rows = [
        (
            species,
            score.slices,
            _nan_if_none(score.recall),
            _nan_if_none(score.precision),
            _nan_if_none(score.f1),
            score.specimens,
            score.specimens_correct or 0,
            f"{score.confused_with} ({score.confused_slices})" if score.confused_with else "",
        )
        for species, score in findings.score.species.items()
    ]
    return Table("species", header, tuple(rows))


def pairs_table(findings: Findings) -> Table:
    """Return the pairs of species that are confused most often."""
    header = ("true species", "predicted species", "slices", "share of its slices %", "specimens")
    rows = [(pair.truth, pair.answer, pair.slices, pair.share, pair.specimens) for pair in findings.pairs]
    return Table("confused_pairs", header, tuple(rows))


def mistakes_table(findings: Findings) -> Table:
    """Return the mistakes with the highest confidence."""
    species = ("true species", "predicted species")
    header = ("slice", "specimen", *species, "confidence %", "score of the true species %")
    rows = [
        (mistake.id, mistake.specimen, mistake.truth, mistake.answer, mistake.confidence, mistake.truth_score)
        for mistake in findings.mistakes
    ]
    return Table("worst_mistakes", header, tuple(rows))


def reliability_table(findings: Findings) -> Table:
    """Return the accuracy of the answers by their confidence."""
    header = ("confidence from %", "confidence to %", "slices", "mean confidence %", "accuracy %")
    return Table("reliability", header, tuple(astuple(group) for group in findings.measurement.reliability))


def confusion_table(findings: Findings) -> Table:
    """Return the confusion matrix of the test slices: rows are true species, columns predicted ones."""
    classes = findings.card.classes
    rows: list[tuple[Cell, ...]] = [
        (species, *row) for species, row in zip(classes, findings.measurement.confusion.tolist(), strict=True)
    ]
    return Table("confusion", ("true species", *classes), tuple(rows))


def unknown_curve_table(findings: Findings) -> Table:
    """Return the points of the ROC curve of unseen species."""
    known_shares, unseen_shares = findings.measurement.open_set.curve()
    points = zip(known_shares.tolist(), unseen_shares.tolist(), strict=True)
    return Table("unknown_curve", ("known slices flagged %", "unseen slices flagged %"), tuple(points))


def unseen_species_table(findings: Findings) -> Table:
    """Return the metrics of each species outside the training data."""
    areas, shares = findings.score.unknown_auroc_by_species, findings.score.unknown_flagged_by_species
    specimens = findings.measurement.open_set.specimens_by_species()
    rows: list[tuple[Cell, ...]] = [(name, areas[name], shares[name], *specimens[name]) for name in areas]
    header = ("unseen species", "area under the ROC curve", "flagged as unknown %", "specimens", "specimens flagged %")
    return Table("unseen_species", header, tuple(rows))


def data_table(findings: Findings) -> Table:
    """Return the numbers of specimens and slices of each species in each split."""
    counts = findings.provenance.info.counts
    numbers = {(count.species, count.split): (count.specimens, count.slices) for count in counts}
    splits = [split for split in (*SPLITS, UNSEEN) if any(count.split == split for count in counts)]
    header = ("species", *(f"{split} {unit}" for split in splits for unit in ("specimens", "slices")))
    rows: list[tuple[Cell, ...]] = []
    for species in dict.fromkeys(count.species for count in counts):
        rows.append((species, *(number for split in splits for number in numbers.get((species, split), (0, 0)))))
    return Table("data", header, tuple(rows))


def networks_table(findings: Findings) -> Table:
    """Return the training configuration of each network."""
    header = ("network", "parameters", "input", "epochs", "training seconds", "recipe", "SHA-256 of model.keras")
    rows = [
        (
            card.backbone,
            card.parameters,
            f"{card.image_size} px",
            len(card.history),
            round(card.seconds),
            ", ".join(f"{key} {value}" for key, value in card.recipe.items()),
            findings.provenance.digests.get(card.backbone, ""),
        )
        for card in findings.provenance.members
    ]
    return Table("networks", header, tuple(rows))


def stages_table(findings: Findings) -> Table:
    """Return the stages of the networks' training with their results on validation slices."""
    configuration = ("network", "initial weights", "class weights", "trained layers", "epochs")
    rows = (astuple(stage) for card in findings.provenance.members for stage in training_stages(card))
    return Table("stages", (*configuration, "validation accuracy %", "validation loss"), tuple(rows))


def origin_table(findings: Findings) -> Table:
    """Return the data and code from which a model was built."""
    card, provenance = findings.card, findings.provenance
    info = provenance.info
    properties = {
        "material": provenance.material,
        "source files, SHA-256": card.data_hash,
        "evaluating code, SHA-256": provenance.code,
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
        "seed of the data set": str(info.seed),
        "seed of the paired tests": str(provenance.seed),
        "slices": f"{info.image_size} px, {info.channels} channel{'s' * (info.channels > 1)}",
        "rejected files": str(len(info.refused)),
        **{f"parameters of {step}": _parameters(values) for step, values in info.preprocessing.items()},
        **{f"threshold {name}": f"{value:.6g}" for name, value in card.thresholds.items()},
        "open-set score": findings.score.unknown_score,
        "ensemble": card.rule,
        "split of the known answers and of the champion": card.held_out_split,
    }
    return Table("origin", ("property", "value"), tuple(properties.items()))


def _parameters(values: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )
