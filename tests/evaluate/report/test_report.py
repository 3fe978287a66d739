"""The report contains the measurements unchanged, on pages that open anywhere."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from components.evaluate.answers import ENSEMBLE, MeasuredAnswers
from components.evaluate.measurement import ModelMeasurement, OpenSetResult, measure
from components.evaluate.predictions import SplitSlices
from components.evaluate.report import tables, text
from components.evaluate.report.findings import (
    Findings,
    Provenance,
    collect_findings,
    confused_pairs,
    worst_mistakes,
)
from components.evaluate.report.html import report_page
from components.evaluate.report.images import MistakeMaps, ReportImages
from components.evaluate.report.writer import write_report
from components.evaluate.specimen_open_set import SpecimenResult
from components.shared import metrics
from components.shared.contracts import BackboneCard, GateVerdict, ModelCard, SlicesInfo, SplitCount
from components.shared.contracts.model_score import ModelScore
from components.shared.images.decoding import encode_png
from tests.model_cards import specimen_threshold

CLASSES = ("Alveolina", "Fallotia", "Minoxia <b>")
SMALLEST_PNG = encode_png(np.zeros((4, 4), np.uint8))


NOTHING_UNSEEN = OpenSetResult("knn", 0.5, np.array([0.1]))
THRESHOLD = specimen_threshold(slices=(1, 8))
UNSEEN = OpenSetResult(
    "knn",
    0.5,
    np.array([0.1, 0.2, 0.3]),
    np.array([0.25, 0.8, 0.9, 0.95]),
    np.array(["Uvula"] * 4),
    SpecimenResult(THRESHOLD, np.array([-0.4, -0.3]), np.array([-0.2, 0.4]), np.array(["Uvula"] * 2)),
)


def scores_of(truths: Sequence[int], answers: Sequence[int], confidence: float = 0.9) -> np.ndarray:
    scores = np.full((len(truths), len(CLASSES)), (1 - confidence) / 2, np.float32)
    scores[np.arange(len(truths)), answers] = confidence
    return scores


def synthetic_slices(truths: Sequence[int], per_specimen: int = 2) -> SplitSlices:
    specimens = [f"specimen-{truth}-{place // per_specimen}" for place, truth in enumerate(truths)]
    ids = [f"slice-{place}" for place in range(len(truths))]
    return SplitSlices(np.array(ids), np.array(truths, np.int64), np.array(specimens))


def measure_synthetic(
    scores: np.ndarray, slices: SplitSlices, open_set: OpenSetResult = NOTHING_UNSEEN
) -> ModelMeasurement:
    """Measure an ensemble of network a, beside network b that always answers correctly."""
    perfect = np.eye(scores.shape[1], dtype=np.float32)[slices.labels]
    answers = MeasuredAnswers(
        slices=slices,
        splits=("test",),
        records=np.arange(len(scores)),
        scores=scores,
        logits={"a": np.log(scores + 1e-9), "b": perfect},
        milliseconds={"a": 100.0, "b": 50.0, ENSEMBLE: 100.0},
    )
    return measure(answers, CLASSES[: scores.shape[1]], open_set, 0.7, 0)


def card(score: ModelScore, passed: bool = True) -> ModelCard:
    reason = "The slice accuracy is 0.7500; 0.7000 is required." if passed else "The recall of Minoxia is 0.50."
    return ModelCard(
        name="forams",
        classes=CLASSES,
        channels=1,
        segmented=True,
        members=("a",),
        rule="best single: a",
        metrics=score,
        thresholds={"temperature": 1.0},
        gate=GateVerdict(passed=passed, accuracy=0.75, threshold=0.7, reasons=(reason,)),
        data_hash="d" * 64,
        code_version="1",
        versions={"keras": "3"},
    )


TRUTHS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
ANSWERS = [0, 0, 0, 2, 1, 1, 1, 1, 2, 0, 0, 2]


def findings_of(measurement: ModelMeasurement) -> Findings:
    counts = tuple(SplitCount(species=name, split="test", specimens=2, slices=4) for name in CLASSES)
    info = SlicesInfo(
        classes=CLASSES, image_size=32, channels=1, counts=counts, seed=3, preprocessing={}, sources_hash="d" * 64
    )
    provenance = Provenance(info, (), {}, "c" * 64, 7, "synthetic specimens")
    return collect_findings(card(measurement.score), provenance, measurement)


@pytest.fixture
def findings() -> Findings:
    return findings_of(measure_synthetic(scores_of(TRUTHS, ANSWERS), synthetic_slices(TRUTHS), UNSEEN))


@pytest.fixture
def images(findings: Findings) -> ReportImages:
    rows = {mistake.row for mistake in findings.mistakes} | {pair.correct_row for pair in findings.pairs}
    maps = {mistake.row: MistakeMaps(SMALLEST_PNG, SMALLEST_PNG) for mistake in findings.mistakes}
    return ReportImages(dict.fromkeys(filter(None, rows), SMALLEST_PNG), maps, "a", "Grad-CAM")


class Reader(HTMLParser):
    """Collects the addresses of a page, its images without a text, and tags that were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.without_text = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.urls += [url for key in ("src", "href") if (url := attributes.get(key)) and not url.startswith("data:")]
        self.without_text += tag in ("img", "svg") and not (attributes.get("alt") or attributes.get("aria-label"))
        if tag not in ("img", "meta", "rect", "circle", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "circle", "path", "polyline"):
            assert self.open.pop() == tag


def test_the_verdict_comes_first(findings: Findings, images: ReportImages) -> None:
    page = report_page(findings, images)
    assert page.index("This model may be deployed") < page.index("Comparison of the models")
    assert "12 slices of 6 synthetic specimens of 3 species" in page
    assert "All results are from synthetic specimens." in page
    failed_page = report_page(replace(findings, card=card(findings.score, passed=False)), images)
    assert "This model must not be deployed" in failed_page
    assert "The recall of Minoxia is 0.50." in failed_page


def test_species_without_test_slices_are_not_counted() -> None:
    findings = findings_of(measure_synthetic(scores_of(TRUTHS[:8], ANSWERS[:8]), synthetic_slices(TRUTHS[:8])))
    assert "8 slices of 4 synthetic specimens of 2 species" in text.summary(findings)[0]


def test_the_page_is_closed_fetches_nothing_and_describes_its_images(findings: Findings, images: ReportImages) -> None:
    reader = Reader(report_page(findings, images))
    assert reader.urls == []
    assert reader.without_text == 0
    assert reader.open == []


def test_names_are_escaped_in_the_page(findings: Findings, images: ReportImages) -> None:
    page = report_page(findings, images)
    assert "Minoxia <b>" not in page
    assert "Minoxia &lt;b&gt;" in page


def test_species_are_measured_by_slice_and_by_specimen(findings: Findings) -> None:
    alveolina, fallotia, minoxia = findings.score.species.values()
    assert (alveolina.recall, alveolina.precision, alveolina.confused_slices) == (0.75, 0.6, 1)
    assert (fallotia.recall, fallotia.precision, fallotia.confused_with) == (1.0, 1.0, "")
    assert (minoxia.recall, minoxia.confused_with, minoxia.specimens) == (0.5, "Alveolina", 2)
    assert findings.measurement.models[0].milliseconds == pytest.approx(100)


def test_the_vote_of_a_specimen_is_the_same_in_every_figure() -> None:
    scores = np.array([[1, 0], [0, 1], [0, 2e-8]], np.float32)
    slices = SplitSlices(np.array(["0", "1", "2"]), np.zeros(3, np.int64), np.array(["a"] * 3))
    correct = metrics.correct_specimens(scores, slices.labels, slices.specimens).sum()
    score = measure_synthetic(scores, slices).score
    assert score.species["Alveolina"].specimens_correct == score.specimen_accuracy == correct == 0


def test_metrics_without_a_value_are_left_out(findings: Findings) -> None:
    changes = {"auc": None, "specimens_needed": 11, "accuracy_interval": (0.6, 0.9), "unknown_auroc": None}
    score = findings.score.model_copy(update=changes)
    rows = tables.metrics_table(replace(findings, card=card(score))).texts()
    values = {row[0]: row[1:] for row in rows}
    assert values["accuracy"] == ["0.75", "0.6", "0.9"]
    assert values[tables.METRICS["specimens_needed"]] == ["11", "", ""]
    assert not {tables.METRICS["auc"], tables.METRICS["unknown_auroc"]} & set(values)


def card_of_training(backbone: str, stages: dict[float, list[float]], **recipe: str) -> BackboneCard:
    history = tuple(
        {"val_accuracy": value, "val_loss": 1 - value, "phase": phase} for phase in stages for value in stages[phase]
    )
    return BackboneCard(
        backbone=backbone, parameters=1, image_size=32, channels=3, classes=CLASSES, recipe=recipe, history=history,
        metrics={}, data_hash="d" * 64, seconds=1.0,
    )  # fmt: skip


def test_networks_are_compared_by_initial_weights_and_stage(findings: Findings, images: ReportImages) -> None:
    scratch = card_of_training("cnn", {2.0: [0.3, 0.7, 0.6]}, class_weights="balanced", monitor="val_accuracy")
    stages = {1.0: [0.5, 0.8], 2.0: [0.9]}
    transfer = card_of_training("efficientnetb0", stages, weights="imagenet", class_weights="none")
    provenance = replace(findings.provenance, members=(scratch, transfer))
    with_stages = replace(findings, provenance=provenance)
    assert tables.stages_table(with_stages).texts() == [
        ["cnn", "random", "balanced", "all layers", "3", "70.0\N{NO-BREAK SPACE}%", "0.3"],
        ["efficientnetb0", "imagenet", "none", "head", "2", "80.0\N{NO-BREAK SPACE}%", "0.2"],
        ["efficientnetb0", "imagenet", "none", "head and features", "1", "90.0\N{NO-BREAK SPACE}%", "0.1"],
    ]
    assert "<td>head and features" in report_page(with_stages, images)


def test_each_unseen_species_has_its_own_row(findings: Findings, images: ReportImages) -> None:
    changes = {"unknown_auroc_by_species": {"Uvula": 0.934}, "unknown_flagged_by_species": {"Uvula": 0.476}}
    with_uvula = replace(findings, card=card(findings.score.model_copy(update=changes)))
    rows = tables.unseen_species_table(with_uvula).texts()
    assert rows == [["Uvula", "0.934", "47.6\N{NO-BREAK SPACE}%", "2", "50.0\N{NO-BREAK SPACE}%"]]
    assert "<td>Uvula" in report_page(with_uvula, images)


def test_the_most_confused_pair_comes_first_with_a_slice_of_each(findings: Findings) -> None:
    first, second = confused_pairs(CLASSES, findings.measurement)
    assert (first.truth, first.answer) == ("Minoxia <b>", "Alveolina")
    assert (first.slices, first.specimens, first.share) == (2, 2, 0.5)
    assert TRUTHS[first.row] == 2
    assert first.correct_row is not None
    assert TRUTHS[first.correct_row] == ANSWERS[first.correct_row] == 0
    assert (second.truth, second.slices) == ("Alveolina", 1)


def test_the_worst_mistakes_are_the_most_confident_two_of_a_specimen() -> None:
    truths = [0] * 20
    scores = scores_of(truths, [1] * 20)
    scores[:, 1] = np.linspace(0.5, 0.9, 20)
    mistakes = worst_mistakes(CLASSES, scores, synthetic_slices(truths, per_specimen=10))
    assert [mistake.row for mistake in mistakes] == [19, 18, 9, 8]
    assert mistakes[0].confidence == pytest.approx(0.9)


def test_reliability_bins_contain_every_slice_once() -> None:
    measurement = measure_synthetic(scores_of(TRUTHS, ANSWERS, confidence=0.85), synthetic_slices(TRUTHS))
    (group,) = measurement.reliability
    assert (group.low, group.slices) == (0.8, 12)
    assert group.accuracy == pytest.approx(0.75)
    assert group.confidence == pytest.approx(0.85)


def test_the_calibration_error_is_that_of_the_reliability_bins() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.dirichlet(np.ones(3), 500).astype(np.float32), rng.integers(3, size=500)
    slices = SplitSlices(np.arange(500).astype(str), labels, np.arange(500).astype(str))
    measurement = measure_synthetic(scores, slices)
    gaps = [group.slices * abs(group.accuracy - group.confidence) for group in measurement.reliability]
    assert sum(gaps) / 500 == pytest.approx(measurement.score.ece, abs=1e-7)


def test_figures_of_the_card_and_the_report_are_equal(findings: Findings) -> None:
    score = findings.score
    rows = {row[0]: row[1] for row in tables.metrics_table(findings).rows}
    assert rows == {title: getattr(score, name) for name, title in tables.METRICS.items() if title in rows}
    of_species = {str(row[0]): row[2:5] for row in tables.species_table(findings).rows}
    assert of_species == {name: (row.recall, row.precision, row.f1) for name, row in score.species.items()}
    confusion = np.array([row[1:] for row in tables.confusion_table(findings).rows], dtype=int)
    assert np.trace(confusion) / confusion.sum() == score.accuracy == findings.measurement.models[0].score.accuracy


def test_the_curve_of_unseen_species_is_that_of_its_scores() -> None:
    result = OpenSetResult("knn", 0.5, np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.35, 0.8]), np.array(["u", "v"]))
    scores = result.scores()
    assert scores["unknown_auroc"] == pytest.approx(7 / 8)
    assert (scores["unknown_flagged_known"], scores["unknown_flagged_unseen"]) == (0.0, 0.5)
    rng = np.random.default_rng(0)
    known, unseen = OpenSetResult("knn", 0, rng.normal(size=9000), rng.normal(1, 1, 9000)).curve()
    assert len(known) == len(unseen) <= 200
    assert (known[-1], unseen[-1]) == (1.0, 1.0)


def test_without_unseen_species_the_report_says_not_measured() -> None:
    findings = findings_of(measure_synthetic(scores_of(TRUTHS, ANSWERS), synthetic_slices(TRUTHS)))
    assert "Not measured" in report_page(findings, ReportImages())
    assert "unseen_species" not in {table.name for table in tables.all_tables(findings)}


def test_a_model_without_a_mistake_is_reported() -> None:
    page = report_page(
        findings_of(measure_synthetic(scores_of(TRUTHS, TRUTHS), synthetic_slices(TRUTHS))), ReportImages()
    )
    assert "all test slices were identified correctly" in page
    assert Reader(page).open == []


def test_a_species_without_test_slices_is_shown_as_missing() -> None:
    findings = findings_of(measure_synthetic(scores_of(TRUTHS[:8], ANSWERS[:8]), synthetic_slices(TRUTHS[:8])))
    assert findings.score.species[CLASSES[2]].recall is None
    assert tables.species_table(findings).texts()[2][2] == "-"
    assert tables.species_table(findings).records()[2]["recall %"] is None
    assert "Minoxia" not in text.summary(findings)[3]


def test_the_folder_contains_the_same_in_every_format(findings: Findings, images: ReportImages, tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", findings, images)
    assert (tmp_path / "report" / "report.html").read_text() == page
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["card"]["gate"]["passed"] is True
    for name, rows in document["tables"].items():
        csv_rows = list(csv.DictReader(io.StringIO((tmp_path / "report" / f"{name}.csv").read_text())))
        assert len(csv_rows) == len(rows), name
    recall = {row["species"]: row["recall %"] for row in document["tables"]["species"]}
    assert recall == {"Alveolina": 75.0, "Fallotia": 100.0, "Minoxia <b>": 50.0}
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert markdown.startswith("# Evaluation of forams: this model may be deployed\n")
    assert "| Fallotia | 4 | 100\N{NO-BREAK SPACE}% |" in markdown


def test_a_report_with_all_its_images_is_below_5_mb(findings: Findings) -> None:
    noise = encode_png(np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8))
    mistakes = tuple(replace(findings.mistakes[0], row=row) for row in range(12))
    pairs = tuple(replace(findings.pairs[0], row=row, correct_row=row + 1) for row in range(0, 12, 2))
    full = replace(findings, mistakes=mistakes, pairs=pairs)
    maps = {row: MistakeMaps(noise, noise) for row in range(12)}
    images = ReportImages(dict.fromkeys(range(12), noise), maps, "a", "Grad-CAM")
    assert len(report_page(full, images)) < 5_000_000
