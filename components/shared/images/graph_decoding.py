"""Decoding of PNG and JPEG files in TensorFlow, with the pixel values of `components.shared.images.decoding`."""

from itertools import pairwise

import tensorflow as tf

from components.shared.images.pixel_values import LUMA, LUMA_BITS, OPAQUE, USED_BITS

_PNG_SIGNATURE, _JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_BIT_DEPTH, _COLOUR_TYPE, _SECOND_CHUNK, _HEADER_BYTES = 24, 25, 37, 41
_PADDING = b"\0" * _HEADER_BYTES
_GREY, _RGB = b"\0", b"\2"
_RGBA_CHANNELS = 4
_BITS_BETWEEN = [more - fewer for fewer, more in pairwise(USED_BITS)]
_HALF = 1 << (LUMA_BITS - 1)


def decode_slice(contents: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode a PNG or JPEG file on black: uint8 [H, W, channels].

    Args:
        contents: Scalar string.
        channels: 1 for grey, 3 for colour.
    """
    header = tf.strings.substr(
        tf.strings.join([tf.strings.substr(contents, 0, _HEADER_BYTES), _PADDING]), 0, _HEADER_BYTES
    )
    image = tf.cond(
        _needs_no_conversion(header, channels),
        lambda: tf.io.decode_image(contents, channels=channels, expand_animations=False),
        lambda: _convert_png(contents, header, channels),
    )
    return tf.ensure_shape(image, [None, None, channels])


def _needs_no_conversion(header: tf.Tensor, channels: int) -> tf.Tensor:
    """Return whether TensorFlow decodes the right pixels: a JPEG, or an 8-bit PNG without transparency or conversion.

    Transparency would be in a chunk before the pixels (IDAT).
    """
    is_png = tf.strings.substr(header, 0, len(_PNG_SIGNATURE)) == _PNG_SIGNATURE
    is_jpeg = tf.strings.substr(header, 0, len(_JPEG_SIGNATURE)) == _JPEG_SIGNATURE
    is_known = tf.debugging.Assert(is_png | is_jpeg, ["expected a PNG or JPEG file"])
    colour_type = tf.strings.substr(header, _COLOUR_TYPE, 1)
    has_right_type = (colour_type == _GREY) | ((channels == 3) & (colour_type == _RGB))
    is_opaque = tf.strings.substr(header, _SECOND_CHUNK, 4) == b"IDAT"
    with tf.control_dependencies([is_known]):
        return is_jpeg | (has_right_type & is_opaque & (tf.strings.substr(header, _BIT_DEPTH, 1) == b"\x08"))


def _convert_png(contents: tf.Tensor, header: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode any PNG file with its transparency: uint8 [H, W, channels]."""
    pixels = tf.cond(
        tf.strings.substr(header, _BIT_DEPTH, 1) == b"\x10",
        lambda: _decode_sixteen_bits(contents),
        lambda: _decode_eight_bits(contents, header),
    )
    if channels == 1:
        weighted_sum = tf.reduce_sum(pixels * tf.constant(LUMA), axis=-1, keepdims=True)
        pixels = tf.bitwise.right_shift(weighted_sum + _HALF, LUMA_BITS)
    return tf.cast(pixels, tf.uint8)


def _decode_eight_bits(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Return colours on black, int32 [H, W, 3].

    TensorFlow marks pixels without transparency by the largest value of the file's bit depth, 1, 3 or 15 too.
    """
    rgba = tf.cast(tf.io.decode_png(contents, _RGBA_CHANNELS), tf.int32)
    bit_depth = tf.cast(tf.io.decode_raw(tf.strings.substr(header, _BIT_DEPTH, 1), tf.uint8)[0], tf.int32)
    is_opaque = tf.reduce_all(rgba[..., 3] == tf.bitwise.left_shift(1, bit_depth) - 1)
    return tf.cond(is_opaque, lambda: rgba[..., :3], lambda: _on_black(rgba))


def _decode_sixteen_bits(contents: tf.Tensor) -> tf.Tensor:
    """Return the 8 high bits of the used bits of colours on black, int32 [H, W, 3]."""
    rgba = tf.cast(tf.io.decode_png(contents, _RGBA_CHANNELS, tf.uint16), tf.int32)
    values = _on_black(tf.concat([rgba[..., :3], _to_eight_bit(rgba[..., 3:])], axis=-1))
    return _to_eight_bit(values)


def _to_eight_bit(values: tf.Tensor) -> tf.Tensor:
    """Reduce values to the 8 high ones of the smallest number of USED_BITS that holds their maximum."""
    is_exceeded = tf.cast(tf.reduce_max(values) >= tf.constant([1 << bits for bits in USED_BITS[:-1]]), tf.int32)
    shift = tf.reduce_sum(is_exceeded * tf.constant(_BITS_BETWEEN))
    return tf.bitwise.right_shift(values, shift)


def _on_black(rgba: tf.Tensor) -> tf.Tensor:
    """Multiply colours by their opacity, rounded to the nearest integer: int32 [H, W, 3]."""
    return (rgba[..., :3] * rgba[..., 3:] + OPAQUE // 2) // OPAQUE
