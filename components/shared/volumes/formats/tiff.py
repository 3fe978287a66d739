"""TIFF stacks: a folder with one file for each slice, or one file with a page for each slice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import (
    MM_PER_UNIT,
    Segment,
    VolumeHeader,
    Zooms,
    check_size,
    choose_zooms,
    format_lengths,
    spatial_shape,
)
from components.shared.volumes.formats.hints import check_content
from components.shared.volumes.formats.stack_names import is_tiff, sort_slices
from components.shared.volumes.formats.tiff_pages import (
    check_page,
    is_inverted,
    is_plain,
    open_tiff,
    page_segments,
    page_shape,
    page_type,
)
from components.shared.volumes.formats.tiff_spacing import TiffSpacing, read_tiff_spacing

_MAX_RATIO = 1400
"""Largest ratio of a page's size to that of its compressed data. LZW has the largest, 1,366: the longest string of its
table grows by a byte with each code, so 4,096 codes of at most 12 bits stand for 8.4 MB at most. Deflate has 1,032."""


def tiff_files(path: Path) -> list[Path]:
    """Return the slices of a folder in their order, or the file itself.

    Raises:
        BadSourceFileError: The folder has no slices, or their names have no clear order.
    """
    if not path.is_dir():
        return [path]
    try:
        names = [entry.name for entry in path.iterdir() if is_tiff(entry.name)]
    except OSError as error:
        raise BadSourceFileError(f"the folder cannot be read ({error.strerror})") from error
    if not names:
        raise BadSourceFileError("a folder without TIFF files", "a folder with one file for each slice")
    if len(names) == 1:
        return [path / names[0]]
    return [path / name for name in sort_slices(names)]


def has_several_pages(file: Path) -> bool:
    """Return whether a TIFF file is a volume and not a single image."""
    with open_tiff(file) as tiff:
        return _count_pages(tiff) > 1


def read_tiff_header(path: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Read the header of the first slice of a stack, and check the size of all files; no other slice is read.

    Raises:
        BadSourceFileError: The files are no grey slices, or there is no voxel size.
    """
    files = tiff_files(path)
    check_content(files[0])
    sizes = [file.stat().st_size for file in files]
    with open_tiff(files[0]) as tiff:
        page, count = tiff.pages[0], len(files) if len(files) > 1 else _count_pages(tiff)
        shape, dtype = spatial_shape([*page_shape(page), count]), page_type(page)
        zooms, notes = _choose_zooms(read_tiff_spacing(tiff, page), spacing_mm)
        header = VolumeHeader(shape, dtype, zooms, is_inverted=is_inverted(page), notes=notes)
        limit = sum(sizes) if is_plain(page) else sum(sizes) * _MAX_RATIO
    check_size(shape, header.nbytes, sum(sizes), limit)
    return header


def locate_pages(path: Path, header: VolumeHeader) -> VolumeHeader:
    """Return a header with the parts of the files that contain the slices, after a check of every page.

    Raises:
        BadSourceFileError: A page has another size or type than the first one, or is not complete.
    """
    files, segments = tiff_files(path), list[Segment]()
    for file in files:
        segments += _segments_of_file(file, header, len(files) > 1)
    return replace(header, segments=tuple(segments))


def _segments_of_file(file: Path, header: VolumeHeader, is_slice: bool) -> list[Segment]:
    size, nbytes = file.stat().st_size, header.nbytes // header.shape[2]
    shape, segments = header.shape[:2], list[Segment]()
    with open_tiff(file) as tiff:
        if is_slice and _count_pages(tiff) != 1:
            raise BadSourceFileError(f"the slice {file.name!r} has {_count_pages(tiff)} pages", "one page")
        if len(tiff.pages) == 1 and not is_slice:
            return [_contiguous_stack(file, tiff.pages[0], header, size)]
        for number, page in enumerate(tiff.pages):
            name = f"the slice {file.name!r}" if is_slice else f"page {number + 1}"
            full_page = page.aspage()
            check_page(full_page, name, shape, header.dtype, header.is_inverted)
            segments += page_segments(file, size, full_page, number, nbytes)
    return segments


def _contiguous_stack(file: Path, page: Any, header: VolumeHeader, size: int) -> Segment:
    """Return the voxels of an ImageJ file of more than 4 GB: all slices one after the other, declared as one page."""
    offset = int(page.dataoffsets[0]) if page.dataoffsets else 0
    if not is_plain(page) or not 0 < offset <= size - header.nbytes:
        raise BadSourceFileError(
            "a file with one page for several slices", "all slices, uncompressed", "Copy it again."
        )
    return Segment(file, offset, header.nbytes)


def _count_pages(tiff: Any) -> int:
    """Return the number of slices in a file.

    Raises:
        BadSourceFileError: The file has several channels or frames of several slices. Slices that were saved as
            channels or as frames are accepted.
    """
    metadata = (tiff.imagej_metadata if tiff.is_imagej else None) or {}
    counts = [f"{metadata[key]} {key}" for key in ("channels", "slices", "frames") if int(metadata.get(key, 1)) > 1]
    if len(counts) > 1:
        raise BadSourceFileError(
            " and ".join(counts), "one channel and one frame", "Save each channel as its own file."
        )
    pages = len(tiff.pages)
    return int(metadata.get("images", 1)) if pages == 1 else pages


def _choose_zooms(spacing: TiffSpacing, spacing_mm: Zooms | None) -> tuple[Zooms, tuple[str, ...]]:
    if len(spacing.lengths) != 2:
        return choose_zooms(spacing.lengths, MM_PER_UNIT[spacing.unit], spacing.unit, spacing_mm)
    if spacing_mm is not None:
        return choose_zooms((), 1.0, "mm", spacing_mm)
    zooms, _ = choose_zooms((*spacing.lengths, spacing.lengths[0]), MM_PER_UNIT[spacing.unit], spacing.unit, None)
    return zooms, (f"the file has no distance of the slices: the voxel size is {format_lengths(zooms)}",)
