"""The report tells what was found, truthfully, on pages that open anywhere."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from components.evaluate.model_selection import HeldOut
from components.evaluate.predictions import Prediction, SplitSlices, StoredRows
from components.evaluate.report import tables, text
from components.evaluate.report.findings import (
    Findings,
    Provenance,
    collect_findings,
    confused_pairs,
    reliability,
    species_findings,
    worst_mistakes,
)
from components.evaluate.report.html import report_page
from components.evaluate.report.images import Pictures, Reasons
from components.evaluate.report.unknown_curve import unknown_curve
from components.evaluate.report.writer import write_report
from components.shared import metrics
from components.shared.contracts import BackboneCard, GateVerdict, ModelCard, SlicesInfo, SplitCount
from components.shared.images.decoding import encode_png

CLASSES = ("Alveolina", "Fallotia", "Minoxia <b>")
SMALLEST_PNG = encode_png(np.zeros((4, 4), np.uint8))


def answers_to(truths: Sequence[int], answers: Sequence[int], confidence: float = 0.9) -> np.ndarray:
    scores = np.full((len(truths), len(CLASSES)), (1 - confidence) / 2, np.float32)
    scores[np.arange(len(truths)), answers] = confidence
    return scores


def made_up_slices(truths: Sequence[int], per_specimen: int = 2) -> SplitSlices:
    specimens = [f"specimen-{truth}-{place // per_specimen}" for place, truth in enumerate(truths)]
    ids = [f"slice-{place}" for place in range(len(truths))]
    return SplitSlices(np.array(ids), np.array(truths, np.int64), np.array(specimens))


def card(passed: bool = True) -> ModelCard:
    reason = "The ensemble reaches 0.7500; 0.7000 is required." if passed else "The recall of Minoxia is 0.50."
    return ModelCard(
        name="forams",
        classes=CLASSES,
        channels=1,
        segmented=True,
        members=("a",),
        rule="best single: a",
        metrics={"accuracy": 0.75, "accuracy_interval": [0.6, 0.9], "ece": 0.1, "specimen_accuracy": 0.8},
        thresholds={"temperature": 1.0},
        gate=GateVerdict(passed=passed, accuracy=0.75, threshold=0.7, reasons=(reason,)),
        data_hash="d" * 64,
        code_version="1",
        versions={"keras": "3"},
    )


TRUTHS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
ANSWERS = [0, 0, 0, 2, 1, 1, 1, 1, 2, 0, 0, 2]


@pytest.fixture
def findings() -> Findings:
    counts = tuple(SplitCount(species=name, split="test", specimens=2, slices=4) for name in CLASSES)
    info = SlicesInfo(
        classes=CLASSES, image_size=32, channels=1, counts=counts, seed=3, preprocessing={}, sources_hash="d" * 64
    )
    scores = answers_to(TRUTHS, ANSWERS)
    said = Prediction(np.log(scores), StoredRows(Path("none"), (12, 1)), 1.2)
    other = Prediction(np.log(answers_to(TRUTHS, TRUTHS)), StoredRows(Path("none"), (12, 1)), 0.6)
    made = Provenance(info, (), {}, "c" * 64, 7, "synthetic specimens")
    curve = unknown_curve(np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.8, 0.9, 0.95]), 0.5)
    return collect_findings(card(), made, HeldOut(made_up_slices(TRUTHS), {"a": said, "b": other}), scores, curve)


@pytest.fixture
def pictures(findings: Findings) -> Pictures:
    rows = {mistake.row for mistake in findings.mistakes} | {pair.like for pair in findings.pairs if pair.like}
    reasons = {mistake.row: Reasons(SMALLEST_PNG, SMALLEST_PNG) for mistake in findings.mistakes}
    return Pictures(dict.fromkeys(rows, SMALLEST_PNG), reasons, "a", "Grad-CAM")


class Reader(HTMLParser):
    """Collects what a page would fetch, its pictures without a text, and tags that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.without_text = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.fetched += [url for key in ("src", "href") if (url := found.get(key)) and not url.startswith("data:")]
        self.without_text += tag in ("img", "svg") and not (found.get("alt") or found.get("aria-label"))
        if tag not in ("img", "meta", "rect", "circle", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "circle", "path", "polyline"):
            assert self.open.pop() == tag


def test_the_verdict_comes_first_and_in_plain_words(findings: Findings, pictures: Pictures) -> None:
    page = report_page(findings, pictures)
    assert page.index("This model may be used") < page.index("The models compared")
    assert "12 slices of 6 synthetic specimens that it had never seen, of 3 species." in page
    assert "All figures were made with synthetic specimens." in page
    refused = report_page(replace(findings, card=card(passed=False)), pictures)
    assert "This model must not be used yet" in refused
    assert "The recall of Minoxia is 0.50." in refused


def test_the_page_is_whole_fetches_nothing_and_describes_its_pictures(findings: Findings, pictures: Pictures) -> None:
    read = Reader(report_page(findings, pictures))
    assert read.fetched == []
    assert read.without_text == 0
    assert read.open == []


def test_names_cannot_bring_markup_into_the_page(findings: Findings, pictures: Pictures) -> None:
    page = report_page(findings, pictures)
    assert "Minoxia <b>" not in page
    assert "Minoxia &lt;b&gt;" in page


def test_species_are_measured_by_slice_and_by_specimen(findings: Findings) -> None:
    alveolina, fallotia, minoxia = findings.species
    assert (alveolina.recall, alveolina.precision, alveolina.taken_for_slices) == (0.75, 0.6, 1)
    assert (fallotia.recall, fallotia.precision, fallotia.taken_for) == (1.0, 1.0, "")
    assert (minoxia.recall, minoxia.taken_for, minoxia.specimens) == (0.5, "Alveolina", 2)
    assert findings.models[0].milliseconds == pytest.approx(100)


def test_a_narrow_vote_of_a_specimens_slices_is_the_same_in_every_figure() -> None:
    scores = np.array([[1, 0], [0, 1], [0, 2e-8]], np.float32)
    slices = SplitSlices(np.array(["0", "1", "2"]), np.zeros(3, np.int64), np.array(["a"] * 3))
    right = metrics.right_specimens(scores, slices.labels, slices.specimens).sum()
    assert species_findings(("a", "b"), scores, slices)[0].specimens_right == right == 0


def test_every_figure_is_told_with_its_interval_and_none_that_has_no_value(findings: Findings) -> None:
    measured = {"accuracy": 0.75, "accuracy_interval": [0.6, 0.9], "brier": 0.125, "auc": None, "specimens_needed": 11}
    table = tables.figures_table(replace(findings, card=findings.card.model_copy(update={"metrics": measured})))
    shown = {row[0].split()[0]: row[1:] for row in table.shown()}
    assert shown == {"slices": ["0.75", "0.6", "0.9"], "Brier": ["0.125", "", ""], "more": ["11", "", ""]}


def trained(backbone: str, stages: dict[float, list[float]], **recipe: str) -> BackboneCard:
    history = tuple(
        {"val_accuracy": value, "val_loss": 1 - value, "phase": phase} for phase in stages for value in stages[phase]
    )
    return BackboneCard(
        backbone=backbone, parameters=1, image_size=32, channels=3, classes=CLASSES, recipe=recipe, history=history,
        metrics={}, data_hash="d" * 64, seconds=1.0,
    )  # fmt: skip


def test_networks_are_compared_by_what_they_began_with_and_stage_by_stage(
    findings: Findings, pictures: Pictures
) -> None:
    scratch = trained("cnn", {2.0: [0.3, 0.7, 0.6]}, class_weights="balanced", monitor="val_accuracy")
    transfer = trained("efficientnetb0", {1.0: [0.5, 0.8], 2.0: [0.9]}, weights="imagenet", class_weights="none")
    members = replace(findings.provenance, members=(scratch, transfer))
    found = replace(findings, provenance=members)
    assert tables.stages_table(found).shown() == [
        ["cnn", "random", "balanced", "everything", "3", "70.0\N{NO-BREAK SPACE}%", "0.3"],
        ["efficientnetb0", "imagenet", "none", "the head", "2", "80.0\N{NO-BREAK SPACE}%", "0.2"],
        ["efficientnetb0", "imagenet", "none", "the features, too", "1", "90.0\N{NO-BREAK SPACE}%", "0.1"],
    ]
    assert "<td>the features, too" in report_page(found, pictures)


def test_each_unseen_species_is_told_apart(findings: Findings, pictures: Pictures) -> None:
    measured = {"unknown_auroc_by_species": {"Uvula": 0.934}, "unknown_flagged_by_species": {"Uvula": 0.476}}
    found = replace(findings, card=findings.card.model_copy(update={"metrics": measured}))
    assert tables.strangers_table(found).shown() == [["Uvula", "0.934", "47.6\N{NO-BREAK SPACE}%"]]
    assert "<td>Uvula" in report_page(found, pictures)


def test_the_pair_confused_most_comes_first_with_a_slice_of_each() -> None:
    scores = answers_to(TRUTHS, ANSWERS)
    first, second = confused_pairs(CLASSES, scores, made_up_slices(TRUTHS))
    assert (first.truth, first.answer, first.slices, first.specimens, first.share) == (
        "Minoxia <b>",
        "Alveolina",
        2,
        2,
        0.5,
    )
    assert TRUTHS[first.row] == 2
    assert first.like is not None
    assert TRUTHS[first.like] == ANSWERS[first.like] == 0
    assert (second.truth, second.slices) == ("Alveolina", 1)


def test_the_worst_mistakes_are_the_surest_and_no_specimen_fills_the_gallery() -> None:
    truths = [0] * 20
    scores = answers_to(truths, [1] * 20)
    scores[:, 1] = np.linspace(0.5, 0.9, 20)
    mistakes = worst_mistakes(CLASSES, scores, made_up_slices(truths, per_specimen=10))
    assert [mistake.row for mistake in mistakes] == [19, 18, 9, 8]
    assert mistakes[0].confidence == pytest.approx(0.9)


def test_reliability_groups_hold_every_slice_once() -> None:
    scores = answers_to(TRUTHS, ANSWERS, confidence=0.85)
    (group,) = reliability(scores, np.array(TRUTHS))
    assert (group.low, group.slices) == (0.8, 12)
    assert group.accuracy == pytest.approx(0.75)
    assert group.confidence == pytest.approx(0.85)


def test_the_curve_of_unknown_species_is_that_of_its_scores() -> None:
    curve = unknown_curve(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.35, 0.8]), 0.5)
    assert curve.auroc == pytest.approx(7 / 8)
    assert (curve.known_at_threshold, curve.unseen_at_threshold) == (0.0, 0.5)
    many = unknown_curve(np.random.default_rng(0).normal(size=9000), np.random.default_rng(1).normal(1, 1, 9000), 0)
    assert len(many.flagged_known) <= 200
    assert (many.flagged_known[-1], many.flagged_unseen[-1]) == (1.0, 1.0)


def test_without_unseen_species_the_report_says_so(findings: Findings, pictures: Pictures) -> None:
    page = report_page(replace(findings, unknown=None), pictures)
    assert "Not measured in this run" in page


def test_a_model_without_a_mistake_is_reported(findings: Findings) -> None:
    scores = answers_to(TRUTHS, TRUTHS)
    said = Prediction(np.log(scores), StoredRows(Path("none"), (12, 1)), 1.2)
    clean = collect_findings(findings.card, findings.provenance, HeldOut(made_up_slices(TRUTHS), {"a": said}), scores)
    page = report_page(clean, Pictures())
    assert "every test slice was named right" in page
    assert Reader(page).open == []


def test_a_species_without_test_slices_is_shown_as_missing(findings: Findings) -> None:
    scores = answers_to(TRUTHS[:8], ANSWERS[:8])
    said = Prediction(np.log(scores), StoredRows(Path("none"), (8, 1)), 1.2)
    test = HeldOut(made_up_slices(TRUTHS[:8]), {"a": said})
    found = collect_findings(findings.card, findings.provenance, test, scores)
    assert math.isnan(found.species[2].recall)
    assert tables.species_table(found).shown()[2][2] == "-"
    assert tables.species_table(found).records()[2]["found %"] is None
    assert "Minoxia" not in text.summary(found)[3]


def test_the_folder_holds_the_same_in_every_format(findings: Findings, pictures: Pictures, tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", findings, pictures)
    assert (tmp_path / "report" / "report.html").read_text() == page
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["card"]["gate"]["passed"] is True
    for name, rows in found["tables"].items():
        read = list(csv.DictReader(io.StringIO((tmp_path / "report" / f"{name}.csv").read_text())))
        assert len(read) == len(rows), name
    recall = {row["species"]: row["found %"] for row in found["tables"]["species"]}
    assert recall == {"Alveolina": 75.0, "Fallotia": 100.0, "Minoxia <b>": 50.0}
    text = (tmp_path / "report" / "report.md").read_text()
    assert text.startswith("# Evaluation of forams: this model may be used\n")
    assert "| Fallotia | 4 | 100\N{NO-BREAK SPACE}% |" in text


def test_a_report_of_full_galleries_is_bounded(findings: Findings) -> None:
    noise = encode_png(np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8))
    mistakes = tuple(replace(findings.mistakes[0], row=row) for row in range(12))
    pairs = tuple(replace(findings.pairs[0], row=row, like=row + 1) for row in range(0, 12, 2))
    full = replace(findings, mistakes=mistakes, pairs=pairs)
    shown = Pictures(
        dict.fromkeys(range(12), noise), {row: Reasons(noise, noise) for row in range(12)}, "a", "Grad-CAM"
    )
    assert len(report_page(full, shown)) < 5_000_000


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100"), (0.0, "0"), (0.99996, "99.9"), (0.00001, "0.1"), (0.5, "50.0"), (0.9564, "95.6")]
)
def test_only_all_is_a_hundred_per_cent_and_only_none_is_zero(share: float, text: str) -> None:
    assert tables.percent(share) == f"{text}\N{NO-BREAK SPACE}%"
