"""Hints for files of known formats that are not read, by their content."""

from components.shared.errors import BadImageError

_HEAD_BYTES = 512
_EXPORT = "Export it as PNG, TIFF or JPEG."
_DEVELOP = "Develop it in a raw converter and export it as 16-bit TIFF or JPEG."
_DOWNLOAD = "Download the image itself; in the browser the link may need a login."
_BOX_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"avif": "AVIF",
    b"avis": "AVIF",
}
_RAW_BRANDS = {b"crx ": "CR3"}
_SIGNATURES = (
    (b"\xff\x0a", "JPEG XL", _EXPORT),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", _EXPORT),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", _EXPORT),
    (b"\xff\x4f\xff\x51", "JPEG 2000", _EXPORT),
    (b"II\xbc\x01", "JPEG XR", _EXPORT),
    (b"8BPS", "Photoshop", _EXPORT),
    (b"gimp xcf", "GIMP", _EXPORT),
    (b"\x76\x2f\x31\x01", "OpenEXR", _EXPORT),
    (b"FUJIFILMCCD-RAW", "raw Fujifilm", _DEVELOP),
    (b"IIRO", "raw Olympus", _DEVELOP),
    (b"IIRS", "raw Olympus", _DEVELOP),
    (b"IIU\0", "raw Panasonic", _DEVELOP),
    (b"%PDF", "PDF", "Export the picture in it as PNG, TIFF or JPEG."),
    (b"PK\x03\x04", "ZIP", "Extract the images first."),
    (b"\x1f\x8b", "gzip", "Extract the image first."),
)
_TEXTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the image", "Run `git lfs pull` in its repository."),
    (b"<!doctype html", "an HTML page, not an image", _DOWNLOAD),
    (b"<html", "an HTML page, not an image", _DOWNLOAD),
    (b"<head", "an HTML page, not an image", _DOWNLOAD),
    (b"<svg", "an SVG drawing", _EXPORT),
    (b"<?xml", "an XML document, not an image", _DOWNLOAD),
    (b"<error", "an XML document, not an image", _DOWNLOAD),
    (b"{", "a JSON document, not an image", _DOWNLOAD),
)


def check_format(contents: bytes, expectation: str) -> None:
    """Check that the content is not of a known format that is not read.

    Args:
        contents: Bytes of a file.
        expectation: Expected formats, for the message.

    Raises:
        BadImageError: The content is of such a format; the message names it and the remedy.
    """
    if contents[4:8] == b"ftyp":
        _refuse_boxes(contents[8:12], expectation)
    for signature, name, remedy in _SIGNATURES:
        if contents.startswith(signature):
            raise BadImageError(f"a {name} file", expectation, remedy)
    text = contents[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, problem, remedy in _TEXTS:
        if text.startswith(start):
            raise BadImageError(problem, expectation, remedy)
    if contents[128:132] == b"DICM":
        raise BadImageError("a DICOM file", expectation, "Convert it to PNG, for example with dcm2img of DCMTK.")


def _refuse_boxes(brand: bytes, expectation: str) -> None:
    """Refuse a file of the ISO base media format, by the name of its brand."""
    name = _BOX_BRANDS.get(brand)
    if name:
        article = "an" if name == "AVIF" else "a"
        raise BadImageError(f"{article} {name} image", expectation, _EXPORT)
    if brand in _RAW_BRANDS:
        raise BadImageError(f"a raw {_RAW_BRANDS[brand]} file", expectation, _DEVELOP)
    raise BadImageError("a film", expectation, "Save the frame that shows the specimen as PNG or JPEG.")
