"""A data set of slices without background, from one of raw slices: same ids, same order, same splits."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from components.segment.batch import METHODS, Batch, SegmentedSlice
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, BadInputError, ContractError
from components.shared.files import atomic_folder
from components.shared.images import segmentation
from components.shared.pages import Thumbnails, balance_table, figures, heading, page, table
from components.shared.progress import Progress
from components.shared.slices import SPLITS, UNSEEN, Slice, SlicesWriter, index_rows, iterate_split, read_info
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
    """A finished data set, a page to look at, and what was dropped.

    Attributes:
        info: `dataset.json`.
        dropped: slices without a specimen, by species and split.
        raw: some slices as they were.
        segmented: the same ones without background.
    """

    info: SlicesInfo
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    raw: Thumbnails = field(default_factory=Thumbnails)
    segmented: Thumbnails = field(default_factory=Thumbnails)

    def metrics(self) -> dict[str, int]:
        """Returns the counts that the Kubeflow UI shows."""
        return {
            "slices": self.info.slices(),
            "specimens": self.info.specimens(),
            "classes": len(self.info.classes),
            "dropped": self.dropped.total(),
        }

    def html(self) -> str:
        """Returns a self-contained page with slices before and after."""
        dropped = [(species, split, count) for (species, split), count in sorted(self.dropped.items())]
        parts = [
            heading("Specimens and slices in each split"),
            balance_table(self.info.counts),
            heading("Slices without a specimen"),
            table(["species", "split", "dropped"], dropped),
        ]
        for name in self.info.classes:
            before, after = self.raw.by_species.get(name, []), self.segmented.by_species.get(name, [])
            parts += [heading(name), figures(before), "<br>", figures(after)]
        return page("Segmented slices", parts)


def segment_dataset(source: Path, folder: Path, workers: int = 0, method: str = SPECIMEN) -> SegmentResult:
    """Segments every slice of a data set; slices in which no specimen is found are left out and counted.

    Args:
        source: a slices folder.
        folder: becomes the new one, or stays as it was when this fails.
        workers: processes, 0 for all cores; the result does not depend on it.
        method: a key of `components.segment.batch.METHODS`.

    Raises:
        ContractError: the source is damaged or of another schema version.
        BadConfigError: no such method.
        BadInputError: a species has no specimen in any slice of a split, or a specimen is sought in colour.
    """
    info = read_info(source)
    _check_method(method, info)
    result = SegmentResult(info)
    progress = Progress("segment", info.slices(), "slices")
    with atomic_folder(folder) as unfinished, SlicesWriter(unfinished, info.classes) as writer:
        for batch, segmented in map_in_order(METHODS[method], _batches(source, info.channels), workers):
            for row, raw, done in zip(batch.rows, batch.encoded, segmented, strict=True):
                _add(result, writer, row, raw, done)
            progress.advance(len(batch.rows))
        result.info = _new_info(info, writer, method, result.dropped.total())
        writer.finish(result.info)
    return result


def _check_method(method: str, info: SlicesInfo) -> None:
    if method not in METHODS:
        raise BadConfigError(f"segmentation {method!r}", f"one of {', '.join(METHODS)}", "Mend the parameter.")
    if method == SPECIMEN and info.channels != 1:
        raise BadInputError(
            "photographs, whose background the segmentation of slices cannot tell from the specimen",
            "grey slices, or the segmentation none",
            "Give photographs as PHOTOS=..., or set segmentation to none.",
        )


def _batches(source: Path, channels: int) -> Iterator[Batch]:
    """Yields the slices in the order of the index, batch by batch, so that memory does not grow with their number."""
    slices = _rows_and_images(source)
    while some := list(islice(slices, BATCH_SLICES)):
        yield Batch(tuple(row for row, _ in some), tuple(png for _, png in some), channels)


def _rows_and_images(source: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    images = {split: iterate_split(source, split) for split in (*SPLITS, UNSEEN)}
    for row in index_rows(source):
        id_, _, png = next(images[row["split"]], ("no more records", 0, b""))
        if id_ != row["id"]:
            raise ContractError(f"{source}: record {id_!r}", f"{row['id']!r}, as the index says", "Make it again.")
        yield row, png


def _add(
    result: SegmentResult, writer: SlicesWriter, row: dict[str, Any], raw: bytes, segmented: SegmentedSlice | None
) -> None:
    species, split, specimen = row["species"], row["split"], row["specimen"]
    if segmented is None:
        result.dropped[species, split] += 1
        return
    known = {name: row[name] for name in ("id", "species", "specimen", "split", "plane", "spacing_mm")}
    writer.add(
        Slice(
            **known,
            foreground_ratio=segmented.descriptors["foreground_ratio"],
            descriptors=segmented.descriptors,
            png=segmented.png,
        )
    )
    result.raw.add(species, split, specimen, raw)
    result.segmented.add(species, split, specimen, segmented.png)


def _new_info(info: SlicesInfo, writer: SlicesWriter, method: str, dropped: int) -> SlicesInfo:
    counts = writer.counts()
    left = {(count.species, count.split) for count in counts}
    for count in info.counts:
        if count.split != UNSEEN and (count.species, count.split) not in left:
            raise BadInputError(
                f"no specimen is found in any of the {count.slices} {count.split} slices of {count.species!r}",
                "a specimen brighter than its background",
                "Look at the contact sheet of ingest.",
            )
    parameters = _SPECIMEN_PARAMETERS if method == SPECIMEN else {}
    preprocessing = {**info.preprocessing, "segment": {"method": method, **parameters, "dropped": dropped}}
    return info.model_copy(update={"counts": counts, "preprocessing": preprocessing})
