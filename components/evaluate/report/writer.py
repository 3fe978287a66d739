"""The report as a folder: `report.html`, `report.md`, `report.json` and a CSV file for each table."""

import json
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.report import tables, text
from components.evaluate.report.findings import Findings
from components.evaluate.report.html import report_page
from components.evaluate.report.images import Pictures
from components.evaluate.report.tables import Table
from components.shared.files import atomic_folder

SCHEMA = "taxonflow.evaluation/1"
HTML_FILE, MARKDOWN_FILE, JSON_FILE = "report.html", "report.md", "report.json"


def write_report(folder: Path, findings: Findings, pictures: Pictures) -> str:
    """Writes the whole report as `folder` and returns its HTML page."""
    html_page = report_page(findings, pictures)
    with atomic_folder(folder) as unfinished:
        (unfinished / HTML_FILE).write_text(html_page, encoding="utf-8")
        (unfinished / MARKDOWN_FILE).write_text(report_markdown(findings), encoding="utf-8")
        (unfinished / JSON_FILE).write_text(report_json(findings), encoding="utf-8")
        for table in tables.all_tables(findings):
            (unfinished / f"{table.name}.csv").write_text(table.to_csv(), encoding="utf-8")
    return html_page


def report_json(findings: Findings) -> str:
    """Returns the model card and every table as JSON."""
    card = findings.card.model_dump(mode="json", exclude={"examples"})
    found = {table.name: table.records() for table in tables.all_tables(findings)}
    return json.dumps({"schema": SCHEMA, "card": card, "tables": found}, indent=1, allow_nan=False)


def report_markdown(findings: Findings) -> str:
    """Returns the report without pictures as Markdown."""
    unseen = [tables.strangers_table(findings)] if findings.unknown else []
    origin = (tables.origin_table, tables.networks_table, tables.data_table)
    sections: dict[str, Sequence[str | Table]] = {
        f"Evaluation of {findings.card.name}: {text.headline(findings).lower()}": [
            "\n".join(f"- {reason}" for reason in findings.card.gate.reasons),
            " ".join(text.summary(findings)),
        ],
        "The models compared": [
            f"Served: {findings.card.rule}.",
            tables.models_table(findings),
            " ".join(text.comparison(findings)),
            tables.figures_table(findings),
            tables.recall_table(findings),
            text.comparison_words(),
            tables.comparisons_table(findings),
            text.STAGES,
            tables.stages_table(findings),
            text.candidate_words(),
            tables.candidates_table(findings),
        ],
        "Species by species": [tables.species_table(findings)],
        "What is taken for what": [tables.pairs_table(findings)],
        "Can its confidence be trusted?": [text.reliability_words(findings), tables.reliability_table(findings)],
        "The worst mistakes": [tables.mistakes_table(findings)],
        "Species it never saw": [text.unknown_words(findings), *unseen],
        "What it was made of": [table(findings) for table in origin],
        "Words": ["\n".join(f"- **{name}**: {meaning}" for name, meaning in text.GLOSSARY.items())],
    }
    document = "\n\n".join("\n\n".join([f"## {title}", *map(_markdown, parts)]) for title, parts in sections.items())
    return document.removeprefix("#") + "\n"


def _markdown(part: str | Table) -> str:
    return part if isinstance(part, str) else part.to_markdown() if part.rows else "None."
