"""Learning curves as a page that opens offline."""

from collections.abc import Sequence

from components.shared.contracts import BackboneCard
from components.shared.pages import heading, line_chart, page, paragraph, table

_MARKED = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def curves_page(card: BackboneCard) -> str:
    """Draws accuracy and loss over the epochs, training beside validation, with the boundary of the phases.

    Args:
        card: of a trained backbone.

    Returns:
        A self-contained HTML page.
    """
    boundary = phase_boundary(card.history)
    charts = [
        line_chart(
            title,
            {
                "training": [row[key] for row in card.history],
                "validation": [row[f"val_{key}"] for row in card.history],
            },
            boundary,
        )
        for key, title in (("accuracy", "Accuracy by epoch"), ("loss", "Loss by epoch"))
    ]
    if "learning_rate" in card.history[0]:
        rates = {"learning rate": [row["learning_rate"] for row in card.history]}
        charts.append(line_chart("Learning rate at the end of the epoch", rates, boundary))
    return page(f"Training of {card.backbone}", [*charts, *_remark(boundary), *_epochs(card), *_facts(card)])


def phase_boundary(history: Sequence[dict[str, float]]) -> int | None:
    """Returns how many epochs the first phase took, or None where there is one phase only."""
    phases = [row.get("phase", 1.0) for row in history]
    first = phases.count(phases[0])
    return first if first < len(phases) else None


def _remark(boundary: int | None) -> list[str]:
    if boundary is None:
        return []
    return [paragraph(f"The dashed line follows epoch {boundary}: left of it the backbone was frozen.")]


def _epochs(card: BackboneCard) -> list[str]:
    columns = [name for name in ("phase", *_MARKED) if name in card.history[0]]
    rows = [[number, *(row[name] for name in columns)] for number, row in enumerate(card.history, start=1)]
    return [heading("Epochs"), table(["epoch", *columns], rows)]


def _facts(card: BackboneCard) -> list[str]:
    recipe = [(key, str(value)) for key, value in card.recipe.items()]
    known = [("parameters", card.parameters), ("input", f"{card.image_size} px"), ("time", f"{card.seconds:.0f} s")]
    return [heading("Network and recipe"), table(("", ""), [*known, *recipe])]
