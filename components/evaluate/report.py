"""The report of an evaluation as a page that opens offline."""

from collections.abc import Iterator
from pathlib import Path

from components.evaluate.evaluation import Evaluation
from components.shared.pages import heading, page, paragraph, picture, table


def report_page(evaluation: Evaluation, version: Path) -> str:
    """Tells the verdict, then what it rests on.

    Args:
        evaluation: what was found.
        version: the served model's version folder, for its example slices.

    Returns:
        A self-contained HTML page.
    """
    card = evaluation.card
    verdict = "may be deployed" if card.gate.passed else "is refused"
    parts = [
        paragraph(f"The model {verdict}. {' '.join(card.gate.reasons)}", "good" if card.gate.passed else "bad"),
        paragraph(f"Ensemble: {card.rule}. Chosen on validation specimens, measured on test specimens."),
        *_metrics(evaluation),
        *_species(evaluation),
        heading("Known slices"),
        *(picture((version / e.file).read_bytes(), f"{e.species}: {max(e.scores):.2f}", 96) for e in card.examples),
        paragraph(f"Data {card.data_hash[:12]}, code {card.code_version}."),
    ]
    return page(f"Evaluation of {card.name}", parts)


def _metrics(evaluation: Evaluation) -> Iterator[str]:
    card = evaluation.card
    low, high = card.metrics["accuracy_interval"]
    yield heading("On test specimens")
    yield table(
        ("model", "accuracy", "top-3", "macro F1"),
        [
            ("ensemble", card.metrics["accuracy"], card.metrics["top3"], card.metrics["macro_f1"]),
            *((name, found["accuracy"], found["top3"], found["macro_f1"]) for name, found in card.backbones.items()),
        ],
    )
    yield paragraph(
        f"95 % interval of the ensemble's accuracy, by resampling specimens: {low:.3f} to {high:.3f}. "
        f"Specimens named right by vote: {card.metrics['specimen_accuracy']:.3f}. "
        f"Calibration error: {card.metrics['ece']:.3f}."
    )


def _species(evaluation: Evaluation) -> Iterator[str]:
    classes = evaluation.card.classes
    yield heading("Species: rows are the truth, columns the answers")
    yield table(
        ("species", "recall", *classes),
        [
            (species, evaluation.recall[species], *(int(count) for count in row))
            for species, row in zip(classes, evaluation.confusion, strict=True)
        ],
    )
