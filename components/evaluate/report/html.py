"""The report as an HTML page: the verdict first, then its evidence."""

import html
from collections.abc import Iterator

from components.evaluate.config import MATERIAL
from components.evaluate.report import charts, tables, text
from components.evaluate.report.findings import ConfusedPair, Findings, Mistake
from components.evaluate.report.images import ReportImages
from components.evaluate.report.table import percent
from components.shared.pages import heading, page, paragraph, picture

LARGEST_MATRIX = 40
_STYLE = """
body{max-width:62rem;color:#1d2733}h1{font-size:1.9rem;margin:1rem 0 .2rem}p{max-width:48rem}
h2{font-size:1.25rem;margin:2.4rem 0 .3rem;border-bottom:2px solid #1f5f99;padding-bottom:.2rem}
.source{color:#516170;margin:0 0 1rem}
.verdict{border-left:.6rem solid;padding:.8rem 1.4rem;margin:1rem 0;background:#f4f7fa}
.verdict h2{border:0;margin:0 0 .4rem;font-size:1.5rem}.verdict p{margin:.35rem 0;max-width:none}
.verdict ul{margin:.4rem 0 .6rem;padding-left:1.2rem}.verdict p,.verdict li{color:#1d2733}.verdict li{font-weight:600}
.verdict.good{border-color:#0a7d4b}.verdict.good h2{color:#0a7d4b}
.verdict.bad{border-color:#b3261e}.verdict.bad h2{color:#b3261e}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:.8rem;margin:1rem 0}
.tile{border:1px solid #dfe5ec;border-radius:.4rem;padding:.7rem .9rem}
.tile b{display:block;font-size:1.6rem;line-height:1.2}.tile span{display:block}.tile small{color:#516170}
.wide{overflow-x:auto}table{font-size:.9rem}thead th{vertical-align:bottom;border-bottom:2px solid #8aa0b5}
td.number{white-space:nowrap}td:last-child{overflow-wrap:anywhere}
.matrix td{text-align:center;width:2.1rem;padding:.25rem}.matrix th{font-weight:normal}
th.tall{height:7.5rem;padding:0;width:2.1rem}th.tall span{writing-mode:vertical-rl;transform:rotate(180deg)}
.cases{display:grid;grid-template-columns:repeat(2,1fr);gap:1rem}
.case{border:1px solid #dfe5ec;border-radius:.4rem;padding:.6rem .8rem;break-inside:avoid}.case p{margin:.2rem 0}
.case figure{margin:.3rem .4rem 0 0;width:8.4rem;vertical-align:top}.case img{width:8.4rem;background:#000}
.case figcaption{font-size:.78rem}dt{font-weight:600}dd{margin:0 0 .4rem 0;color:#33414f}
@media(max-width:46rem){.cases{grid-template-columns:1fr}}
@media print{body{max-width:none;font-size:11px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
h2{break-after:avoid}tr,figure,svg,.verdict,.tile{break-inside:avoid}.wide{overflow:visible}
.tiles{grid-template-columns:repeat(3,1fr)}.case figure,.case img{width:6.6rem}}
"""


def report_page(findings: Findings, images: ReportImages) -> str:
    """Return a self-contained HTML page that opens offline and can be printed.

    Args:
        findings: Contents of the report.
        images: Images of the mistakes and confused pairs.
    """
    sections = (_verdict, _models, _species, _confusion, _calibration, _mistakes, _unseen_species, _origin, _glossary)
    parts = [part for section in sections for part in section(findings, images)]
    return page(f"Evaluation of {findings.card.name}", parts, _STYLE)


def _verdict(findings: Findings, _: ReportImages) -> Iterator[str]:
    card = findings.card
    if findings.provenance.material != MATERIAL:
        yield paragraph(f"All results are from {findings.provenance.material}.", "source")
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in card.gate.reasons)
    summary = "".join(paragraph(sentence) for sentence in text.summary(findings))
    tone = "good" if card.gate.passed else "bad"
    title = html.escape(text.headline(findings))
    yield f'<div class="verdict {tone}"><h2>{title}</h2><ul>{reasons}</ul>{summary}</div>'
    yield charts.tiles(_main_figures(findings))


def _main_figures(findings: Findings) -> list[tuple[str, str, str]]:
    """Return (number, name, remark) of the main figures."""
    score = findings.score
    low, high = score.accuracy_interval
    specimens = f"{text.correct_specimens(findings):,} of {score.specimens:,}"
    figures = [
        (percent(score.accuracy), "of the slices correct", f"95 % interval {percent(low)} to {percent(high)}"),
        (specimens, "specimens correct", f"95 % lower bound {percent(score.specimen_accuracy_lower)}"),
        (percent(score.top3), "top-3 accuracy", "species among the three highest scores"),
    ]
    figures += [(percent(row.recall), "lowest recall", name) for name, row in text.weakest(score.species, 1)]
    figures.append((percent(score.ece), "calibration error", "mean difference of confidence and accuracy"))
    if score.unknown_auroc is not None:
        area = f"area under the ROC curve {score.unknown_auroc:.3f}"
        figures.append((percent(score.unknown_flagged_unseen), "of the unseen slices flagged", area))
    if score.unknown_specimen_auroc is not None:
        remark = f"and {percent(score.unknown_specimens_flagged_known)} of the known ones"
        figures.append((percent(score.unknown_specimens_flagged_unseen), "of the unseen specimens flagged", remark))
    return figures


def _models(findings: Findings, _: ReportImages) -> Iterator[str]:
    yield heading("Comparison of the models")
    yield paragraph(
        f"Selected ensemble: {findings.card.rule}. It was selected on validation specimens; results are from test "
        "specimens unless stated otherwise."
    )
    yield charts.plain_table(tables.models_table(findings))
    if findings.score.folds:
        yield paragraph(text.folds_text(findings))
        yield charts.plain_table(tables.folds_table(findings))
    yield from (paragraph(sentence) for sentence in text.network_comparison(findings))
    yield paragraph("All metrics of the ensemble on the test specimens:")
    yield charts.plain_table(tables.metrics_table(findings))
    yield paragraph("Recall of each species by each model; the lower, the more orange:")
    yield charts.shares_table(tables.recall_table(findings))
    if findings.measurement.comparisons:
        yield paragraph(text.significance_text())
        yield charts.plain_table(tables.comparisons_table(findings))
    yield paragraph(text.STAGES)
    yield charts.plain_table(tables.stages_table(findings))
    if findings.candidates:
        yield paragraph(text.candidate_text())
        yield charts.plain_table(tables.candidates_table(findings))


def _species(findings: Findings, _: ReportImages) -> Iterator[str]:
    yield heading("Results by species")
    yield charts.plain_table(tables.species_table(findings))


def _confusion(findings: Findings, images: ReportImages) -> Iterator[str]:
    yield heading("Confused species")
    if len(findings.card.classes) <= LARGEST_MATRIX:
        yield paragraph("Number of test slices by true species (rows) and predicted species (columns).")
        yield paragraph("Correct answers are blue, mistakes orange.")
        yield charts.confusion_matrix(tables.confusion_table(findings))
    if not findings.pairs:
        yield paragraph("All test slices were identified correctly.")
        return
    yield paragraph("The most frequent confusions, each beside a correctly identified slice of the predicted species:")
    yield f'<div class="cases">{"".join(_pair(pair, images) for pair in findings.pairs)}</div>'


def _pair(pair: ConfusedPair, images: ReportImages) -> str:
    slices = (
        f"{pair.slices:,} slice{'s' * (pair.slices > 1)} of {pair.specimens:,} specimen{'s' * (pair.specimens > 1)}"
    )
    names = f"<b>{html.escape(pair.truth)}</b> identified as <b>{html.escape(pair.answer)}</b>"
    share = paragraph(f"{slices}, {percent(pair.share)} of the slices of {pair.truth}")
    figures = _slice_figure(images, pair.row, f"{pair.truth}, identified wrongly")
    if pair.correct_row is not None:
        figures += _slice_figure(images, pair.correct_row, f"{pair.answer}, identified correctly")
    return f"<div class=case><p>{names}</p>{share}{figures}</div>"


def _slice_figure(images: ReportImages, row: int, caption: str) -> str:
    return picture(images.slices[row], caption) if row in images.slices else ""


def _calibration(findings: Findings, _: ReportImages) -> Iterator[str]:
    yield heading("Calibration of the confidence")
    yield paragraph(text.reliability_text(findings))
    yield charts.reliability_chart(findings.measurement.reliability)


def _mistakes(findings: Findings, images: ReportImages) -> Iterator[str]:
    yield heading("Mistakes with the highest confidence")
    if not findings.mistakes:
        yield paragraph("None: all test slices were identified correctly.")
        return
    yield paragraph(text.gallery_text(images.network, images.method, findings))
    yield f'<div class="cases">{"".join(_mistake(mistake, images) for mistake in findings.mistakes)}</div>'


def _mistake(mistake: Mistake, images: ReportImages) -> str:
    figures = _slice_figure(images, mistake.row, f"slice {mistake.id}")
    if mistake.row in images.maps:
        figures += picture(images.maps[mistake.row].answer, f"support for {mistake.answer}")
        figures += picture(images.maps[mistake.row].truth, f"support for {mistake.truth}")
    names = f"<b>{html.escape(mistake.truth)}</b> identified as <b>{html.escape(mistake.answer)}</b>"
    confidence, truth_score = percent(mistake.confidence), percent(mistake.truth_score)
    scores = paragraph(f"Confidence {confidence}; score of the true species {truth_score}")
    return f"<div class=case><p>{names}</p>{scores}{figures}</div>"


def _unseen_species(findings: Findings, _: ReportImages) -> Iterator[str]:
    yield heading("Unseen species")
    yield paragraph(text.unknown_text(findings))
    if findings.score.unknown_auroc is not None:
        known_shares, unseen_shares = findings.measurement.open_set.curve()
        yield charts.unknown_chart(zip(known_shares.tolist(), unseen_shares.tolist(), strict=True), findings.score)
        yield charts.plain_table(tables.unseen_species_table(findings))
    yield from (paragraph(sentence) for sentence in text.unknown_specimens_text(findings))


def _origin(findings: Findings, _: ReportImages) -> Iterator[str]:
    yield heading("Data, networks and code")
    yield charts.plain_table(tables.origin_table(findings))
    yield charts.plain_table(tables.networks_table(findings))
    yield charts.plain_table(tables.data_table(findings))


def _glossary(_: Findings, __: ReportImages) -> Iterator[str]:
    yield heading("Glossary")
    yield "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(entry)}</dd>" for name, entry in text.GLOSSARY.items())
