"""The tables of a report, each written once for the page, Markdown, CSV and JSON."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from components.evaluate.report.findings import Findings, ModelFindings, stages_of
from components.shared.slices import SPLITS, UNSEEN

Cell = str | int | float
FIGURES = {
    "accuracy": "slices named right (accuracy)",
    "top3": "with the species in the top three",
    "macro_precision": "right when named, mean over species (macro precision)",
    "macro_recall": "found, mean over species (macro recall)",
    "macro_f1": "macro F1",
    "weighted_precision": "right when named, weighted by slices",
    "weighted_recall": "found, weighted by slices",
    "weighted_f1": "F1, weighted by slices",
    "auc": "area under the curve, one species against the rest",
    "ece": "calibration error (ECE)",
    "brier": "Brier score, 0 is perfect and 2 the worst",
    "specimen_accuracy": "specimens named right by the vote of their slices",
    "specimen_accuracy_lower": "the same, exact lower bound with 95 % certainty",
    "specimens_needed": "more specimens that the claim would need, all named right",
    "unknown_auroc": "known against unseen species, area under the curve",
    "unknown_flagged_known": "known slices called unknown",
    "unknown_flagged_unseen": "unseen slices called unknown",
}
"""The ensemble's metrics on the test specimens, in a reader's words."""

LUCK = 0.05
"""Chance of such a difference between equally good models under which it is called more than luck."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its CSV file and its key in JSON.
        header: names of the columns; those that end in " %" hold shares of one.
        rows: raw values.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Returns the table as CSV, shares as percentages, missing values empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        for row in self.rows:
            writer.writerow([_plain(name, value) for name, value in zip(self.header, row, strict=True)])
        return text.getvalue()

    def records(self) -> list[dict[str, Cell | None]]:
        """Returns the rows as JSON objects, shares as percentages, missing values as None."""
        return [
            {name: _finite(_plain(name, value)) for name, value in zip(self.header, row, strict=True)}
            for row in self.rows
        ]

    def to_markdown(self) -> str:
        """Returns the table as Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.shown()]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def shown(self) -> list[list[str]]:
        """Returns the cells as a reader sees them."""
        return [[shown(name, value) for name, value in zip(self.header, row, strict=True)] for row in self.rows]


def shown(column: str, value: Cell) -> str:
    """Writes a value for a reader."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return percent(value) if column.endswith("%") else f"{value:.3g}"


def percent(share: float) -> str:
    """Writes a share of one as a percentage; only all is 100 and only none is 0."""
    if not math.isfinite(share):
        return "-"
    tenths = round(1000 * share)
    if 0 < share < 1:
        tenths = min(max(tenths, 1), 999)
    digits = f"{tenths / 10:.1f}" if tenths % 1000 else f"{tenths // 10}"
    return f"{digits}\N{NO-BREAK SPACE}%"


def _plain(column: str, value: Cell) -> Cell:
    if isinstance(value, float) and column.endswith("%"):
        return round(100 * value, 4)
    return value


def _finite(value: Cell) -> Cell | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def all_tables(findings: Findings) -> tuple[Table, ...]:
    """Returns every table of a report."""
    tables = [
        models_table(findings),
        figures_table(findings),
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
    return (*tables, unknown_table(findings), strangers_table(findings)) if findings.unknown else tuple(tables)


def models_table(findings: Findings) -> Table:
    """Compares the models and names the species that each does best and worst."""
    classes = findings.card.classes
    header = ("model", "accuracy %", "top-3 %", "macro F1 %", "strongest species", "weakest species", "ms per slice")
    return Table("models", header, tuple(_model_row(model, classes) for model in findings.models))


def _model_row(model: ModelFindings, classes: Sequence[str]) -> tuple[Cell, ...]:
    tested = [label for label in range(len(classes)) if not math.isnan(model.recall[label])]
    order = sorted(tested, key=lambda label: (model.recall[label], classes[label]))
    weakest, strongest = _named(order[:2], classes, model), _named(order[:-3:-1], classes, model)
    return (model.name, model.accuracy, model.top3, model.macro_f1, strongest, weakest, model.milliseconds)


def _named(labels: Iterable[int], classes: Sequence[str], model: ModelFindings) -> str:
    return ", ".join(f"{classes[label]} {percent(float(model.recall[label]))}" for label in labels)


def figures_table(findings: Findings) -> Table:
    """Lists the ensemble's metrics, with 95 % intervals where there are some; what has no value is left out."""
    measured = findings.card.metrics
    rows: list[tuple[Cell, ...]] = [
        (words, measured[name], *measured.get(f"{name}_interval", ("", "")))
        for name, words in FIGURES.items()
        if measured.get(name) is not None
    ]
    return Table("figures", ("figure", "value", "95 % from", "95 % to"), tuple(rows))


def recall_table(findings: Findings) -> Table:
    """Shares of each species' slices that each model names right."""
    header = ("species", *(f"{model.name} %" for model in findings.models))
    rows: list[tuple[Cell, ...]] = [
        (species, *(float(model.recall[label]) for model in findings.models))
        for label, species in enumerate(findings.card.classes)
    ]
    return Table("recall", header, tuple(rows))


def comparisons_table(findings: Findings) -> Table:
    """Tells which differences between models are more than luck."""
    header = ("model", "other model", "more right %", "by slice, p", "by specimen, p", "more than luck")
    rows: list[tuple[Cell, ...]] = [
        (
            found.first,
            found.second,
            found.difference,
            found.mcnemar_corrected,
            found.by_specimen_corrected,
            "yes" if found.by_specimen_corrected < LUCK else "not shown",
        )
        for found in findings.comparisons
    ]
    return Table("comparisons", header, tuple(rows))


def candidates_table(findings: Findings) -> Table:
    """Lists the rules that were tried on validation slices."""
    header = ("rule", "accuracy on validation %", "log loss", "behind the best %", "its standard error %", "taken")
    rows: list[tuple[Cell, ...]] = [
        (
            tried.rule.words(findings.card.classes),
            tried.accuracy,
            tried.log_loss,
            tried.behind,
            tried.error,
            "yes" if tried.chosen else "",
        )
        for tried in findings.candidates
    ]
    return Table("rules", header, tuple(rows))


def species_table(findings: Findings) -> Table:
    """Tells how the ensemble does on each species."""
    header = (
        "species",
        "slices",
        "found %",
        "right when named %",
        "F1 %",
        "specimens",
        "specimens right",
        "mostly taken for",
    )
    rows = [
        (
            found.species,
            found.slices,
            found.recall,
            found.precision,
            found.f1,
            found.specimens,
            found.specimens_right,
            f"{found.taken_for} ({found.taken_for_slices})" if found.taken_for else "",
        )
        for found in findings.species
    ]
    return Table("species", header, tuple(rows))


def pairs_table(findings: Findings) -> Table:
    """Lists the pairs that are confused most."""
    header = ("in truth", "taken for", "slices", "of its slices %", "in specimens")
    rows = [(pair.truth, pair.answer, pair.slices, pair.share, pair.specimens) for pair in findings.pairs]
    return Table("confused_pairs", header, tuple(rows))


def mistakes_table(findings: Findings) -> Table:
    """Lists the mistakes with the highest confidence."""
    header = ("slice", "specimen", "in truth", "taken for", "confidence %", "score of the truth %")
    rows = [
        (mistake.id, mistake.specimen, mistake.truth, mistake.answer, mistake.confidence, mistake.truth_score)
        for mistake in findings.mistakes
    ]
    return Table("worst_mistakes", header, tuple(rows))


def reliability_table(findings: Findings) -> Table:
    """Compares how sure the model is with how often it is right."""
    header = ("from %", "to %", "slices", "confidence %", "right %")
    rows = [(group.low, group.high, group.slices, group.confidence, group.accuracy) for group in findings.reliability]
    return Table("reliability", header, tuple(rows))


def confusion_table(findings: Findings) -> Table:
    """Counts test slices: rows are the truth, columns the answers."""
    classes = findings.card.classes
    rows: list[tuple[Cell, ...]] = [
        (species, *map(int, row)) for species, row in zip(classes, findings.confusion, strict=True)
    ]
    return Table("confusion", ("in truth", *classes), tuple(rows))


def unknown_table(findings: Findings) -> Table:
    """Lists the points of the curve of unknown species."""
    assert findings.unknown
    points = zip(findings.unknown.flagged_known.tolist(), findings.unknown.flagged_unseen.tolist(), strict=True)
    return Table("unknown_curve", ("known flagged %", "unseen flagged %"), tuple(points))


def strangers_table(findings: Findings) -> Table:
    """Tells how well each species that the model never saw is noticed."""
    areas, noticed = (findings.card.metrics.get(f"unknown_{what}_by_species", {}) for what in ("auroc", "flagged"))
    rows: list[tuple[Cell, ...]] = [(species, areas[species], noticed[species]) for species in areas]
    return Table("unseen_species", ("unseen species", "area under the curve", "called unknown %"), tuple(rows))


def data_table(findings: Findings) -> Table:
    """Counts specimens and slices of each species in each split."""
    counts = findings.provenance.info.counts
    found = {(count.species, count.split): (count.specimens, count.slices) for count in counts}
    splits = [split for split in (*SPLITS, UNSEEN) if any(count.split == split for count in counts)]
    header = ("species", *(f"{split} {what}" for split in splits for what in ("specimens", "slices")))
    rows: list[tuple[Cell, ...]] = []
    for species in dict.fromkeys(count.species for count in counts):
        rows.append((species, *(number for split in splits for number in found.get((species, split), (0, 0)))))
    return Table("data", header, tuple(rows))


def networks_table(findings: Findings) -> Table:
    """Tells how each network was trained."""
    header = ("network", "weights", "input", "epochs", "training seconds", "recipe", "SHA-256 of model.keras")
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
    """Compares what the networks began with and what each stage of their training reached on validation slices."""
    header = ("network", "began with", "class weights", "trained", "epochs", "right on validation %", "loss")
    rows = (astuple(stage) for card in findings.provenance.members for stage in stages_of(card))
    return Table("stages", header, tuple(rows))


def origin_table(findings: Findings) -> Table:
    """Tells from what data and code a model was made."""
    card, made = findings.card, findings.provenance
    facts = {
        "material": made.material,
        "source files, SHA-256": card.data_hash,
        "evaluating code, SHA-256": made.code,
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
        "seed of the data set": str(made.info.seed),
        "seed of the paired tests": str(made.seed),
        "slices": f"{made.info.image_size} px, {made.info.channels} channel{'s' * (made.info.channels > 1)}",
        "files refused": str(len(made.info.refused)),
        **{f"parameters of {step}": _parameters(chosen) for step, chosen in made.info.preprocessing.items()},
        **{f"threshold {name}": f"{value:.6g}" for name, value in card.thresholds.items()},
        "ensemble": card.rule,
    }
    return Table("origin", ("what", "value"), tuple(facts.items()))


def _parameters(chosen: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in chosen.items()
    )
