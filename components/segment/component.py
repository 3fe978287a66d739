"""The pipeline step that sets the background of slices to black."""

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def segment(
    slices: dsl.Input[dsl.Dataset],
    segmented: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    contact_sheet: dsl.Output[dsl.HTML],
    segmentation: str = "specimen",
) -> None:
    """Set everything but the specimen to black and leave out slices without one, or keep all as they are.

    Args:
        slices: Raw slices.
        segmented: The same slices, ids and splits, without background.
        metrics: Slices, specimens, classes, dropped slices.
        contact_sheet: Slices of each species before and after.
        segmentation: What is done, specimen (all else becomes black) or none, for photographs.
    """
    from pathlib import Path

    from components.segment.dataset import segment_dataset
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("segment"):
        made = segment_dataset(Path(slices.path), Path(segmented.path), method=segmentation)
        write_atomically(Path(contact_sheet.path), made.html().encode())
        for name, value in made.metrics().items():
            metrics.log_metric(name, value)
