"""Segmentation of a data set: slices without background, with the same ids, order and splits as the raw slices."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from components.segment.batch import METHODS, Batch, SegmentedSlice
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, BadInputError
from components.shared.files import atomic_folder
from components.shared.images import segmentation
from components.shared.pages import Thumbnails, balance_table, figures, heading, page, table
from components.shared.progress import Progress
from components.shared.slices import SPLITS, UNSEEN, Slice, SlicesWriter, iterate_slices, read_info
from components.shared.workers import map_in_order

BATCH_SLICES = 64
SPECIMEN = "specimen"
_SPECIMEN_PARAMETERS = {
    "published_edge": segmentation.PUBLISHED_EDGE,
    "smallest_object": segmentation.SMALLEST_OBJECT,
    "largest_hole": segmentation.LARGEST_HOLE,
    "closing_radius": segmentation.CLOSING_RADIUS,
}


@dataclass
class SegmentResult:
    """A finished data set and its HTML page.

    Attributes:
        info: Content of `dataset.json`.
        dropped_slices: Number of slices without a specimen, by species and split.
        raw_thumbnails: Example slices before segmentation.
        segmented_thumbnails: The same slices after segmentation.
    """

    info: SlicesInfo
    dropped_slices: Counter[tuple[str, str]] = field(default_factory=Counter)
    raw_thumbnails: Thumbnails = field(default_factory=Thumbnails)
    segmented_thumbnails: Thumbnails = field(default_factory=Thumbnails)

    def metrics(self) -> dict[str, int]:
        """Return the counts that the Kubeflow UI shows."""
        return {
            "slices": self.info.slices(),
            "specimens": self.info.specimens(),
            "classes": len(self.info.classes),
            "dropped": self.dropped_slices.total(),
        }

    def html(self) -> str:
        """Return a self-contained page with slices before and after segmentation."""
        rows = [(species, split, count) for (species, split), count in sorted(self.dropped_slices.items())]
        parts = [
            heading("Specimens and slices in each split"),
            balance_table(self.info.counts),
            heading("Slices without a specimen"),
            table(["species", "split", "dropped"], rows),
        ]
        for name in self.info.classes:
            before = self.raw_thumbnails.by_species.get(name, [])
            after = self.segmented_thumbnails.by_species.get(name, [])
            parts += [heading(name), figures(before), "<br>", figures(after)]
        return page("Segmented slices", parts)


def segment_dataset(source: Path, folder: Path, workers: int = 0, method: str = SPECIMEN) -> SegmentResult:
    """Segment every slice of a data set; slices without a specimen are dropped and counted.

    Args:
        source: Folder of raw slices.
        folder: Folder of segmented slices; it is replaced only if this succeeds.
        workers: Number of processes, 0 for all cores. It does not change the result.
        method: Key of `components.segment.batch.METHODS`.

    Raises:
        ContractError: The source is damaged or of another schema version.
        BadConfigError: The method is unknown.
        BadInputError: No slice of a species and split shows a specimen, or photographs are to be segmented.
    """
    info = read_info(source)
    _check_method(method, info)
    result = SegmentResult(info)
    progress = Progress("segment", info.slices(), "slices")
    with atomic_folder(folder) as temporary_folder, SlicesWriter(temporary_folder, info.classes) as writer:
        for batch, segmented_slices in map_in_order(METHODS[method], _batches(source, info.channels), workers):
            for row, raw_png, segmented_slice in zip(batch.rows, batch.images, segmented_slices, strict=True):
                _write_slice(result, writer, row, raw_png, segmented_slice)
            progress.advance(len(batch.rows))
        result.info = _segmented_info(info, writer, method, result.dropped_slices.total())
        writer.finish(result.info)
    return result


def _check_method(method: str, info: SlicesInfo) -> None:
    if method not in METHODS:
        methods = " or ".join(METHODS)
        raise BadConfigError(f"segmentation {method!r}", f"one of {', '.join(METHODS)}", f"Set it to {methods}.")
    if method == SPECIMEN and info.channels != 1:
        raise BadInputError(
            "photographs, in which the segmentation of slices cannot separate the specimen from the background",
            "grey slices, or the segmentation none",
            "Use PHOTOS=... for photographs, or set segmentation to none.",
        )


def _batches(source: Path, channels: int) -> Iterator[Batch]:
    """Yield the slices batch by batch in the order of the index, so that memory does not grow with their number."""
    slices = iterate_slices(source, (*SPLITS, UNSEEN))
    while batch := list(islice(slices, BATCH_SLICES)):
        yield Batch(tuple(row for row, _ in batch), tuple(png for _, png in batch), channels)


def _write_slice(
    result: SegmentResult,
    writer: SlicesWriter,
    row: dict[str, Any],
    raw_png: bytes,
    segmented_slice: SegmentedSlice | None,
) -> None:
    species, split, specimen = row["species"], row["split"], row["specimen"]
    if segmented_slice is None:
        result.dropped_slices[species, split] += 1
        return
    fields = {name: row[name] for name in ("id", "species", "specimen", "split", "plane", "spacing_mm")}
    writer.add(
        Slice(
            **fields,
            foreground_ratio=segmented_slice.descriptors["foreground_ratio"],
            descriptors=segmented_slice.descriptors,
            png=segmented_slice.png,
            fold=row.get("fold"),
        )
    )
    result.raw_thumbnails.add(species, split, specimen, raw_png)
    result.segmented_thumbnails.add(species, split, specimen, segmented_slice.png)


def _segmented_info(info: SlicesInfo, writer: SlicesWriter, method: str, dropped_count: int) -> SlicesInfo:
    counts = writer.counts()
    remaining_splits = {(count.species, count.split) for count in counts}
    for count in info.counts:
        if count.split != UNSEEN and (count.species, count.split) not in remaining_splits:
            raise BadInputError(
                f"no specimen is found in any of the {count.slices} {count.split} slices of {count.species!r}",
                "a specimen brighter than its background",
                "Look at the contact sheet of the step ingest.",
            )
    parameters = _SPECIMEN_PARAMETERS if method == SPECIMEN else {}
    details = {"method": method, **parameters, "dropped": dropped_count}
    update = {"counts": counts, "preprocessing": {**info.preprocessing, "segment": details}}
    return info.model_copy(update=update)
