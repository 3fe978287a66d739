"""The report as a page: the verdict first, then what it rests on."""

import html
from collections.abc import Iterator, Sequence

from components.evaluate.config import MATERIAL
from components.evaluate.report import charts, tables, text
from components.evaluate.report.findings import Findings, Mistake
from components.evaluate.report.images import Pictures
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


def report_page(findings: Findings, pictures: Pictures) -> str:
    """Builds a self-contained HTML page that opens offline and prints.

    Args:
        findings: what was found.
        pictures: slices of the findings' mistakes and pairs, and where the network found its reasons.
    """
    sections = (_verdict, _models, _species, _confusions, _reliability, _mistakes, _unknown, _origin, _glossary)
    parts = [part for section in sections for part in section(findings, pictures)]
    return page(f"Evaluation of {findings.card.name}", parts, _STYLE)


def _verdict(findings: Findings, _: Pictures) -> Iterator[str]:
    card = findings.card
    if findings.provenance.material != MATERIAL:
        yield paragraph(f"All figures were made with {findings.provenance.material}.", "source")
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in card.gate.reasons)
    told = "".join(paragraph(sentence) for sentence in text.summary(findings))
    tone = "good" if card.gate.passed else "bad"
    title = html.escape(text.headline(findings))
    yield f'<div class="verdict {tone}"><h2>{title}</h2><ul>{reasons}</ul>{told}</div>'
    yield charts.tiles(_figures(findings))


def _figures(findings: Findings) -> list[tuple[str, str, str]]:
    measured, ensemble = findings.card.metrics, findings.models[0]
    specimens = sum(found.specimens for found in findings.species)
    right = sum(found.specimens_right for found in findings.species)
    figures = [
        (tables.percent(ensemble.accuracy), "of slices named right", _between(measured.get("accuracy_interval"))),
        (f"{right} of {specimens}", "specimens named right", _at_least(measured.get("specimen_accuracy_lower"))),
        (tables.percent(ensemble.top3), "with the species in the top three", ""),
    ]
    weak = text.weakest(findings.species, 1)
    if weak:
        figures.append((tables.percent(weak[0].recall), "of the hardest species found", weak[0].species))
    if measured.get("ece") is not None:
        figures.append((tables.percent(measured["ece"]), "calibration error", "gap of confidence and truth"))
    if findings.unknown:
        share = tables.percent(findings.unknown.unseen_at_threshold)
        figures.append((share, "of unseen species noticed", f"area under the curve {findings.unknown.auroc:.3f}"))
    return figures


def _between(interval: Sequence[float] | None) -> str:
    return f"95 % interval {tables.percent(interval[0])} to {tables.percent(interval[1])}" if interval else ""


def _at_least(lower: float | None) -> str:
    return "" if lower is None else f"shows at least {tables.percent(lower)} (95 % certainty)"


def _models(findings: Findings, _: Pictures) -> Iterator[str]:
    yield heading("The models compared")
    yield paragraph(f"Served: {findings.card.rule}. Chosen on validation specimens, measured here on test specimens.")
    yield charts.plain_table(tables.models_table(findings))
    yield from (paragraph(sentence) for sentence in text.comparison(findings))
    yield paragraph("Every figure of the ensemble on the test specimens:")
    yield charts.plain_table(tables.figures_table(findings))
    yield paragraph("Of each species' test slices, the share that each model finds; the more orange, the fewer:")
    yield charts.shares_table(tables.recall_table(findings))
    if findings.comparisons:
        yield paragraph(text.comparison_words())
        yield charts.plain_table(tables.comparisons_table(findings))
    yield paragraph(text.STAGES)
    yield charts.plain_table(tables.stages_table(findings))
    if findings.candidates:
        yield paragraph(text.candidate_words())
        yield charts.plain_table(tables.candidates_table(findings))


def _species(findings: Findings, _: Pictures) -> Iterator[str]:
    yield heading("Species by species")
    yield charts.plain_table(tables.species_table(findings))


def _confusions(findings: Findings, pictures: Pictures) -> Iterator[str]:
    yield heading("What is taken for what")
    if len(findings.card.classes) <= LARGEST_MATRIX:
        yield paragraph("Counts of test slices: a row is the truth, a column the answer. Orange cells are mistakes.")
        yield charts.confusion_matrix(tables.confusion_table(findings))
    if not findings.pairs:
        yield paragraph("No test slice was named wrong.")
        return
    yield paragraph("The pairs that are confused most, each beside a slice of the species that was answered:")
    yield '<div class="cases">'
    for pair in findings.pairs:
        share = f"{text.times(pair.slices)}, in {pair.specimens} specimen{'s' * (pair.specimens > 1)}"
        yield f"<div class=case><p><b>{html.escape(pair.truth)}</b> taken for <b>{html.escape(pair.answer)}</b></p>"
        yield paragraph(f"{share}; {tables.percent(pair.share)} of its slices")
        yield _slice(pictures, pair.row, f"{pair.truth}, mistaken")
        if pair.like is not None:
            yield _slice(pictures, pair.like, f"{pair.answer}, named right")
        yield "</div>"
    yield "</div>"


def _slice(pictures: Pictures, row: int, caption: str) -> str:
    return picture(pictures.slices[row], caption) if row in pictures.slices else ""


def _reliability(findings: Findings, _: Pictures) -> Iterator[str]:
    yield heading("Can its confidence be trusted?")
    yield paragraph(text.reliability_words(findings))
    yield charts.reliability_chart(findings.reliability)


def _mistakes(findings: Findings, pictures: Pictures) -> Iterator[str]:
    yield heading("The worst mistakes")
    if not findings.mistakes:
        yield paragraph("None: every test slice was named right.")
        return
    yield paragraph(text.gallery_words(pictures.by, pictures.method))
    yield f'<div class="cases">{"".join(_case(mistake, pictures) for mistake in findings.mistakes)}</div>'


def _case(mistake: Mistake, pictures: Pictures) -> str:
    reasons = pictures.reasons.get(mistake.row)
    figures = _slice(pictures, mistake.row, f"slice {mistake.id}")
    if reasons:
        figures += picture(reasons.for_answer, f"for {mistake.answer}")
        figures += picture(reasons.for_truth, f"for {mistake.truth}")
    names = f"<b>{html.escape(mistake.truth)}</b> taken for <b>{html.escape(mistake.answer)}</b>"
    sure = f"{tables.percent(mistake.confidence)} sure; the truth got {tables.percent(mistake.truth_score)}"
    return f"<div class=case><p>{names}</p>{paragraph(sure)}{figures}</div>"


def _unknown(findings: Findings, _: Pictures) -> Iterator[str]:
    yield heading("Species it never saw")
    yield paragraph(text.unknown_words(findings))
    if findings.unknown:
        yield charts.unknown_chart(findings.unknown)
        yield charts.plain_table(tables.strangers_table(findings))


def _origin(findings: Findings, _: Pictures) -> Iterator[str]:
    yield heading("What it was made of")
    yield charts.plain_table(tables.origin_table(findings))
    yield charts.plain_table(tables.networks_table(findings))
    yield charts.plain_table(tables.data_table(findings))


def _glossary(_: Findings, __: Pictures) -> Iterator[str]:
    yield heading("Words")
    yield "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in text.GLOSSARY.items())
