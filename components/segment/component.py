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
    """Set the background of slices to black and drop slices without a specimen, or keep all slices unchanged.

    Args:
        slices: Raw slices.
        segmented: The same slices without background, with the same ids and splits.
        metrics: Slices, specimens, classes, dropped slices.
        contact_sheet: Slices of each species before and after segmentation.
        segmentation: Treatment of the background: specimen (everything else becomes black), or none for photographs.
    """
    from pathlib import Path

    from components.segment.dataset import segment_dataset
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("segment"):
        result = segment_dataset(Path(slices.path), Path(segmented.path), method=segmentation)
        write_atomically(Path(contact_sheet.path), result.html().encode())
        for name, value in result.metrics().items():
            metrics.log_metric(name, value)
