"""Reading of images with 16 bits per value; Pillow reads such colour images with 8 bits only, OpenCV with all.

Pillow has decoded the whole file before, so that OpenCV reads complete files only.
"""

from typing import Any

import cv2
import numpy as np
from PIL import Image

from components.shared.errors import BadImageError
from components.shared.images.pixel_values import Values, composite_on_black, invert_used_bits, to_eight_bit

PNG_BIT_DEPTH = 24
"""Position of the byte with the bits per value in a PNG file."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _EXTRA_SAMPLES = 258, 262, 284, 338
_WHITE_IS_ZERO, _SEPARATE_PLANES = 0, 2
_UNASSOCIATED_ALPHA = 2
TRANSPARENCY = "transparency"
"""Key of the transparent grey value or colour in the `info` of Pillow's image."""


def has_sixteen_bits(image: Image.Image, contents: bytes) -> bool:
    """Return whether an image has 9 to 16 bits per value."""
    if image.format == "PNG":
        return contents[PNG_BIT_DEPTH] == 16
    return image.mode.startswith("I;16") or (image.format == "TIFF" and max(_tag(image, _BITS_PER_SAMPLE, 8)) == 16)


def read_sixteen_bits(image: Image.Image, contents: bytes) -> Values:
    """Return the values of a 16-bit image on black.

    Args:
        image: Loaded image.
        contents: Its file.

    Returns:
        uint16 [H, W] of a grey image, [H, W, 3] of a colour image.

    Raises:
        BadImageError: The file has separate colour planes, or OpenCV cannot read it.
    """
    if image.mode.startswith("I;16") and TRANSPARENCY not in image.info:
        values = np.array(image, np.uint16)
        if image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == (_WHITE_IS_ZERO,):
            invert_used_bits(values)
        return values
    if image.format == "TIFF" and _tag(image, _PLANAR, 1) == (_SEPARATE_PLANES,):
        raise BadImageError("16-bit colours in separate planes", "values of a pixel side by side", "Export it as PNG.")
    values = _read_with_opencv(contents)
    colours = values if values.ndim == 2 else np.ascontiguousarray(values[..., 2::-1])
    if TRANSPARENCY in image.info:
        colours[_is_transparent(colours, image.info[TRANSPARENCY])] = 0
    elif values.ndim == 3 and values.shape[2] == 4 and _has_unassociated_alpha(image):
        composite_on_black(colours, to_eight_bit(np.ascontiguousarray(values[..., 3])))
    return colours


def _read_with_opencv(contents: bytes) -> Values:
    values = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise BadImageError("a 16-bit image that cannot be read", "PNG, or TIFF in grey or RGB", "Export it as PNG.")
    return np.asarray(values)


def _is_transparent(values: Values, key: Any) -> Any:
    """Return which pixels have the transparent grey value or colour of a PNG."""
    return values == key if values.ndim == 2 else (values == np.asarray(key)).all(axis=-1)


def _has_unassociated_alpha(image: Image.Image) -> bool:
    """Return whether values are not yet multiplied by their opacity."""
    return image.format == "PNG" or _tag(image, _EXTRA_SAMPLES, 0)[0] == _UNASSOCIATED_ALPHA


def _tag(image: Image.Image, tag: int, default: int) -> tuple[int, ...]:
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return value if isinstance(value, tuple) else (value,)
