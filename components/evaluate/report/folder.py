"""The report as a folder: `report.html`, `report.md`, `report.json` and a CSV file for each table."""

import json
from pathlib import Path

from components.evaluate.report import tables, words
from components.evaluate.report.findings import Findings
from components.evaluate.report.html_page import report_page
from components.evaluate.report.pictures import Pictures
from components.shared.files import folder_made_whole

SCHEMA = "taxonflow.evaluation/1"
HTML_FILE, MARKDOWN_FILE, JSON_FILE = "report.html", "report.md", "report.json"


def write_report(folder: Path, findings: Findings, pictures: Pictures) -> str:
    """Writes the whole report as `folder` and returns its HTML page."""
    html_page = report_page(findings, pictures)
    with folder_made_whole(folder) as unfinished:
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
    sections = {
        f"Evaluation of {findings.card.name}: {words.headline(findings).lower()}": [
            "\n".join(f"- {reason}" for reason in findings.card.gate.reasons),
            " ".join(words.summary(findings)),
        ],
        "The models compared": [
            f"Served: {findings.card.rule}.",
            tables.models_table(findings).to_markdown(),
            " ".join(words.comparison(findings)),
            tables.figures_table(findings).to_markdown(),
            tables.recall_table(findings).to_markdown(),
            words.comparison_words(),
            tables.comparisons_table(findings).to_markdown(),
            words.STAGES,
            tables.stages_table(findings).to_markdown(),
            words.candidate_words(),
            tables.candidates_table(findings).to_markdown(),
        ],
        "Species by species": [tables.species_table(findings).to_markdown()],
        "What is taken for what": [tables.pairs_table(findings).to_markdown()],
        "Can its confidence be trusted?": [
            words.reliability_words(findings),
            tables.reliability_table(findings).to_markdown(),
        ],
        "The worst mistakes": [tables.mistakes_table(findings).to_markdown()],
        "Species it never saw": [
            words.unknown_words(findings),
            *([tables.strangers_table(findings).to_markdown()] if findings.unknown else []),
        ],
        "What it was made of": [
            tables.origin_table(findings).to_markdown(),
            tables.networks_table(findings).to_markdown(),
            tables.data_table(findings).to_markdown(),
        ],
        "Words": ["\n".join(f"- **{name}**: {text}" for name, text in words.GLOSSARY.items())],
    }
    text = "\n\n".join("\n\n".join([f"## {title}", *parts]) for title, parts in sections.items())
    return text.removeprefix("#") + "\n"
