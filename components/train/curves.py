"""Learning curves as a page that opens offline."""

import html

from components.shared.contracts import BackboneCard
from components.shared.pages import line_chart, page, table


def curves_page(card: BackboneCard) -> str:
    """Draws accuracy and loss over the epochs, training beside validation.

    Args:
        card: of a trained backbone.

    Returns:
        A self-contained HTML page.
    """
    history = card.history
    charts = [
        line_chart(
            title, {"training": [row[key] for row in history], "validation": [row[f"val_{key}"] for row in history]}
        )
        for key, title in (("accuracy", "Accuracy by epoch"), ("loss", "Loss by epoch"))
    ]
    facts = table(
        ("", ""),
        [
            ("weights", f"{card.parameters:,}"),
            ("input", f"{card.image_size} px"),
            ("training time", f"{card.seconds:.0f} s"),
            *((html.escape(key), str(value)) for key, value in card.recipe.items()),
        ],
    )
    return page(f"Training of {card.backbone}", [*charts, facts])
