"""The learning curves of a training."""

import pytest

from components.shared.contracts import BackboneCard
from components.train.pages import curves_page, phase_boundary


def row(epoch: int, phase: float | None) -> dict[str, float]:
    metrics = {"accuracy": 0.1 * epoch, "loss": 2 - 0.1 * epoch, "val_accuracy": 0.1 * epoch, "val_loss": 2.0}
    return metrics if phase is None else {**metrics, "phase": phase, "learning_rate": 10**-phase}


def card(*phases: float | None) -> BackboneCard:
    return BackboneCard(
        backbone="cnn_small",
        parameters=1,
        image_size=32,
        channels=1,
        classes=("a", "b"),
        recipe={"weights": "<none>"},
        history=tuple(row(epoch, phase) for epoch, phase in enumerate(phases)),
        metrics={},
        data_hash="x",
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("phases", "boundary"), [((1.0, 1.0, 2.0), 2), ((1.0, 1.0), None), ((2.0, 2.0), None), ((None, None), None)]
)
def test_the_boundary_is_drawn_where_the_phase_changes(phases: tuple[float | None, ...], boundary: int | None) -> None:
    assert phase_boundary(card(*phases).history) == boundary
    dashed_lines = curves_page(card(*phases)).count("stroke-dasharray")
    assert dashed_lines == (0 if boundary is None else 3)


def test_the_page_lists_every_epoch_and_escapes_the_recipe() -> None:
    page = curves_page(card(1.0, 1.0, 2.0))
    assert page.count("<tr>") == 4 + 5
    assert "&lt;none&gt;" in page
    assert "<script" not in page
