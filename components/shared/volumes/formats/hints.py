"""Recognition of files that are not what their names declare, so that they are refused with a remedy."""

from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import BadSourceFileError

_BLOCK_BYTES = 512
_DICOM_MAGIC, _DICOM_OFFSET = b"DICM", 128
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<error")


@dataclass(frozen=True)
class Content:
    """A kind of content that is not a volume.

    Attributes:
        magic: First bytes of such a file; empty if `content_of` recognizes it in another way.
        name: Name of the content.
        remedy: Way to get a volume, as a sentence.
    """

    magic: bytes
    name: str
    remedy: str


DICOM = Content(
    b"", "a DICOM file", "Convert the series to NIfTI with dcm2niix and use the .nii.gz file that it writes."
)
_PAGE = Content(b"", "a web page instead of the file", "Download the file again; the server may ask for a login.")
_CONTENTS = (
    Content(
        b"version https://git-lfs", "a pointer of Git LFS instead of the file", "Run `git lfs pull` in its repository."
    ),
    Content(b"/annex/", "a pointer of git-annex instead of the file", "Run `git annex get` in its repository."),
    Content(b"BZh", "a file compressed with bzip2", "Unpack it with bunzip2 and compress it with gzip."),
    Content(b"PK\x03\x04", "a ZIP archive", "Unpack it."),
    Content(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it."),
    Content(b"\xfd7zXZ\x00", "a file compressed with xz", "Unpack it with unxz and compress it with gzip."),
    Content(b"\x28\xb5\x2f\xfd", "a file compressed with zstd", "Unpack it with unzstd and compress it with gzip."),
    Content(b"\x89HDF", "an HDF5 file", "Export the scan as NIfTI."),
    Content(b"\x89PNG", "a PNG image", "Export the whole volume as NIfTI."),
    Content(b"\xff\xd8\xff", "a JPEG image", "Export the whole volume as NIfTI."),
)


def check_content(file: Path) -> None:
    """Check that the first bytes of a file are not those of a pointer, a web page, an archive or DICOM.

    Raises:
        BadSourceFileError: They are, or the file cannot be read.
    """
    content = content_of(file)
    if content:
        raise BadSourceFileError(content.name, "a volume", content.remedy)


def content_of(file: Path) -> Content | None:
    """Return the content that the first bytes of a file show, or None if they may be those of a volume.

    Raises:
        BadSourceFileError: The file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            block = stream.read(_BLOCK_BYTES)
    except OSError as error:
        raise BadSourceFileError(f"the file cannot be read ({error.strerror})") from error
    if block[_DICOM_OFFSET : _DICOM_OFFSET + len(_DICOM_MAGIC)] == _DICOM_MAGIC:
        return DICOM
    if block.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
        return _PAGE
    return next((content for content in _CONTENTS if block.startswith(content.magic)), None)
