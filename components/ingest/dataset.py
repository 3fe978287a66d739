"""The data set of slices: volumes are refused or cut, specimens split, slices written in one order.

The same volumes and the same seed give the same bytes, whatever the number of workers.
"""

import csv
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.cut import SMALLEST_COVERAGE
from components.ingest.cutting import Cutting, cut_all
from components.ingest.manifest import Scan, read_manifest
from components.ingest.parts import descriptors_of, in_turns
from components.ingest.report import report_html
from components.ingest.specimen import WINDOW_PERCENTILES
from components.ingest.split import TEST_SHARE, VALIDATION_SHARE, assign_splits, scans_of_the_model
from components.shared.contact_sheet import Thumbnails
from components.shared.contracts import SlicesInfo
from components.shared.files import folder_made_whole

SPLIT_FILE = "split.csv"


@dataclass(frozen=True)
class IngestResult:
    """A finished data set: its `dataset.json` and a page to look at."""

    info: SlicesInfo
    html: str

    def metrics(self) -> dict[str, int]:
        """Returns the counts that the Kubeflow UI shows."""
        return {
            "slices": sum(count.slices for count in self.info.counts),
            "specimens": sum(count.specimens for count in self.info.counts),
            "classes": len(self.info.classes),
            "refused": len(self.info.refused),
        }


def make_dataset(source: Path, folder: Path, config: IngestConfig) -> IngestResult:
    """Makes a folder of slices from volumes; bad volumes are refused by name and the rest goes on.

    Beside the slices contract, the folder holds `split.csv`: a manifest with the splits that a later run can take.

    Args:
        source: a folder of volumes or a manifest, see `components.ingest.manifest`.
        folder: becomes the slices folder, or stays as it was when this fails.
        config: everything else.

    Raises:
        BadManifestError: too few usable specimens, or a manifest that is no manifest.
    """
    manifest = read_manifest(source)
    with folder_made_whole(folder) as unfinished:
        parts = unfinished / "parts"
        parts.mkdir()
        cutting = cut_all(manifest, parts, config)
        splits = assign_splits(cutting.scans, config.seed)
        thumbnails = Thumbnails()
        info = _write_slices(cutting, splits, unfinished, config, thumbnails)
        _write_split(unfinished / SPLIT_FILE, cutting.scans, splits)
        shutil.rmtree(parts)
    return IngestResult(info, report_html(info, thumbnails, cutting.grey_counts()))


def _write_slices(
    cutting: Cutting, splits: dict[str, str], folder: Path, config: IngestConfig, thumbnails: Thumbnails
) -> SlicesInfo:
    from components.shared.slices import Slice, SlicesWriter  # TensorFlow, which no worker process shall load

    classes = tuple(sorted({scan.species for scan in scans_of_the_model(cutting.scans)}))
    numbers = _scan_numbers(cutting.scans)
    by_part = {cutting.part_of[scan.path]: scan for scan in _shuffled(cutting.scans, config.seed)}
    with SlicesWriter(folder, classes) as writer:
        for part, number, row in in_turns(by_part):
            scan = by_part[part]
            item = Slice(
                id=f"{scan.specimen}-{numbers[scan.path]:02d}-{number:05d}",
                species=scan.species,
                specimen=scan.specimen,
                split=splits[scan.specimen],
                plane=row["plane"],
                foreground_ratio=row["foreground_ratio"],
                spacing_mm=row["spacing_mm"],
                descriptors=descriptors_of(row),
                png=row["png"],
            )
            writer.add(item)
            thumbnails.consider(item.species, item.split, item.specimen, item.png)
        info = SlicesInfo(
            classes=classes,
            image_size=config.image_size,
            channels=1,
            counts=writer.counts(),
            seed=config.seed,
            preprocessing={"ingest": _parameters(config)},
            sources_hash=_sources_hash(cutting),
            refused=tuple(cutting.refused),
        )
        writer.finish(info)
    return info


def _scan_numbers(scans: Sequence[Scan]) -> dict[str, int]:
    """Numbers the scans of each specimen from 1 in the manifest's order."""
    seen: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for scan in scans:
        numbers[scan.path] = seen[scan.specimen] = seen.get(scan.specimen, 0) + 1
    return numbers


def _shuffled(scans: Sequence[Scan], seed: int) -> Iterator[Scan]:
    """Yields scans in an order without meaning, so that neighbouring slices are of different species."""
    yield from sorted(scans, key=lambda scan: hashlib.sha256(f"order\0{seed}\0{scan.path}".encode()).digest())


def _parameters(config: IngestConfig) -> dict[str, object]:
    return {
        "planes": config.planes,
        "slices_per_species": config.slices_per_species,
        "smallest_coverage": SMALLEST_COVERAGE,
        "window_percentiles": list(WINDOW_PERCENTILES),
        "test_share": TEST_SHARE,
        "validation_share": VALIDATION_SHARE,
    }


def _sources_hash(cutting: Cutting) -> str:
    digest = hashlib.sha256()
    for scan in cutting.scans:
        digest.update(f"{cutting.results[scan.path].digest} {scan.species}/{scan.specimen}\n".encode())
    return digest.hexdigest()


def _write_split(file: Path, scans: Sequence[Scan], splits: dict[str, str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("path", "species", "specimen", "split"))
        table.writerows((scan.path, scan.species, scan.specimen, splits[scan.specimen]) for scan in scans)
