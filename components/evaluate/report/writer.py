"""The report as a folder: `report.html`, `report.md`, `report.json` and a CSV file for each table."""

import json
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.report import tables, text
from components.evaluate.report.findings import Findings
from components.evaluate.report.html import report_page
from components.evaluate.report.images import ReportImages
from components.evaluate.report.table import Table
from components.shared.files import atomic_folder

SCHEMA = "taxonflow.evaluation/2"
HTML_FILE, MARKDOWN_FILE, JSON_FILE = "report.html", "report.md", "report.json"


def write_report(folder: Path, findings: Findings, images: ReportImages) -> str:
    """Write the whole report as `folder` and return its HTML page."""
    page = report_page(findings, images)
    with atomic_folder(folder) as partial_folder:
        (partial_folder / HTML_FILE).write_text(page, encoding="utf-8")
        (partial_folder / MARKDOWN_FILE).write_text(report_markdown(findings), encoding="utf-8")
        (partial_folder / JSON_FILE).write_text(report_json(findings), encoding="utf-8")
        for table in tables.all_tables(findings):
            (partial_folder / f"{table.name}.csv").write_text(table.to_csv(), encoding="utf-8")
    return page


def report_json(findings: Findings) -> str:
    """Return the model card and every table as JSON."""
    card = findings.card.model_dump(mode="json", exclude={"examples"})
    rows = {table.name: table.records() for table in tables.all_tables(findings)}
    return json.dumps({"schema": SCHEMA, "card": card, "tables": rows}, indent=1, allow_nan=False)


def report_markdown(findings: Findings) -> str:
    """Return the report without images as Markdown."""
    unseen = [tables.unseen_species_table(findings)] if findings.score.unknown_auroc is not None else []
    folds: list[str | Table] = [text.folds_text(findings), tables.folds_table(findings)] if findings.score.folds else []
    origin = (tables.origin_table, tables.networks_table, tables.data_table)
    sections: dict[str, Sequence[str | Table]] = {
        f"Evaluation of {findings.card.name}: {text.headline(findings).lower()}": [
            "\n".join(f"- {reason}" for reason in findings.card.gate.reasons),
            " ".join(text.summary(findings)),
        ],
        "Comparison of the models": [
            f"Selected ensemble: {findings.card.rule}.",
            tables.models_table(findings),
            *folds,
            " ".join(text.network_comparison(findings)),
            tables.metrics_table(findings),
            tables.recall_table(findings),
            text.significance_text(),
            tables.comparisons_table(findings),
            text.STAGES,
            tables.stages_table(findings),
            text.candidate_text(),
            tables.candidates_table(findings),
        ],
        "Results by species": [tables.species_table(findings)],
        "Confused species": [tables.pairs_table(findings)],
        "Calibration of the confidence": [text.reliability_text(findings), tables.reliability_table(findings)],
        "Mistakes with the highest confidence": [tables.mistakes_table(findings)],
        "Unseen species": [
            text.unknown_text(findings),
            *unseen,
            *([" ".join(sentences)] if (sentences := list(text.unknown_specimens_text(findings))) else []),
        ],
        "Data, networks and code": [table(findings) for table in origin],
        "Glossary": ["\n".join(f"- **{name}**: {entry}" for name, entry in text.GLOSSARY.items())],
    }
    document = "\n\n".join("\n\n".join([f"## {title}", *map(_markdown, parts)]) for title, parts in sections.items())
    return document.removeprefix("#") + "\n"


def _markdown(part: str | Table) -> str:
    return part if isinstance(part, str) else part.to_markdown() if part.rows else "None."
