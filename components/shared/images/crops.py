"""Preprocessing of an encoded slice before a backbone: the one TensorFlow graph of training, evaluation and serving."""

import tensorflow as tf

from components.shared.images.graph_decoding import decode_slice

CROP_MARGIN = 5 / 224
_COLOUR_CHANNELS = 3

Box = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
"""First row, row after the last, first column and column after the last."""


def decode_and_crop(contents: tf.Tensor, image_size: int, channels: int) -> tf.Tensor:
    """Decode an image, crop it to the specimen and pad it to a square.

    The crop is the bounding box of the pixels above zero with the published margin of 5 px at 224 px, padded with
    black, the background of segmented slices. An image in colour whose box is as long as the image is a photograph,
    alone or in the black frame that it has as a slice, whose edge is its long side. It is cropped without margin and
    padded with the median colour of its border: black bars would often be the strongest contrast of the image.

    Args:
        contents: Scalar string, a PNG (8 or 16 bit) or JPEG file. The transformer converts other formats to PNG.
        image_size: Edge of the result in pixels.
        channels: 1 for grey, 3 for colour.

    Returns:
        The crop, uint8 [image_size, image_size, channels]; integers, so that training caches exactly the pixels that
        serving computes.
    """
    image = decode_slice(contents, channels)
    box, colour = _box(image), tf.zeros([channels], tf.uint8)
    if channels == _COLOUR_CHANNELS:
        box, colour = _photograph_box(image, box)
    crop = _pad_thin_strips(_crop(image, box), image_size)
    floats = _resize(tf.cast(crop, tf.float32), _fitting_sides(crop, image_size))
    integers = tf.cast(tf.clip_by_value(tf.round(floats), 0.0, 255.0), tf.uint8)
    return _pad_to_square(integers, image_size, colour)


def _crop(image: tf.Tensor, box: Box) -> tf.Tensor:
    top, bottom, start, stop = box
    return image[top:bottom, start:stop]


def _box(image: tf.Tensor, margin: float = CROP_MARGIN) -> Box:
    """Return the rows and columns of the pixels above zero, widened by a margin; of the whole image if it is black."""
    foreground = tf.reduce_any(image > 0, axis=-1)
    rows, columns = (_extent(tf.reduce_any(foreground, axis=axis), margin) for axis in (1, 0))
    return (*rows, *columns)


def _photograph_box(image: tf.Tensor, box: Box) -> tuple[Box, tf.Tensor]:
    """Return the box and the padding, uint8 [C], of an image in colour; only a photograph gets another box."""
    tight_box = top, bottom, start, stop = _box(image, margin=0)
    photograph = _crop(tf.cast(image, tf.int32), tight_box)
    border = tf.concat([photograph[0], photograph[-1], photograph[:, 0], photograph[:, -1]], axis=0)
    median = tf.cast(tf.sort(border, axis=0)[tf.shape(border)[0] // 2], tf.uint8)
    height, width = tf.unstack(tf.shape(image)[:2])
    is_photograph = tf.maximum(bottom - top, stop - start) == tf.maximum(height, width)
    first, last, left, right = (tf.where(is_photograph, *sides) for sides in zip(tight_box, box, strict=True))
    return (first, last, left, right), tf.where(is_photograph, median, tf.zeros_like(median))


def _fitting_sides(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Return height and width that fit the square, in integers: floats differ by one pixel in some graphs."""
    sides = tf.shape(image)[:2]
    return sides * image_size // tf.reduce_max(sides)


def _resize(image: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Resize bilinearly, with antialiasing only if a side shrinks: otherwise it is a no-op of five times the cost."""
    return tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > sides),
        lambda: tf.image.resize(image, sides, antialias=True),
        lambda: tf.image.resize(image, sides),
    )


def _pad_to_square(image: tf.Tensor, image_size: int, colour: tf.Tensor) -> tf.Tensor:
    """Centre uint8 [H, W, C] in a square of a colour."""
    padding = image_size - tf.shape(image)[:2]
    before = padding // 2
    paddings = tf.stack([before, padding - before], axis=1)
    inside = tf.pad(tf.ones(tf.shape(image)[:2], tf.bool), paddings)
    square = tf.where(inside[..., None], tf.pad(image, tf.concat([paddings, [[0, 0]]], axis=0)), colour)
    return tf.ensure_shape(square, [image_size, image_size, image.shape[-1]])


def _pad_thin_strips(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Pad a strip that is so thin that it would vanish when its long side is reduced to `image_size`."""
    sides = tf.shape(image)[:2]
    padding = tf.where(sides * image_size < tf.reduce_max(sides), tf.reduce_max(sides) // image_size + 1 - sides, 0)
    return tf.pad(image, [[0, padding[0]], [0, padding[1]], [0, 0]])


def _extent(foreground: tf.Tensor, margin_share: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return start and stop of the True elements of a vector, widened by a share; all of it if none is True."""
    length = tf.shape(foreground)[0]
    marks = tf.cast(foreground, tf.int32)
    margin = tf.cast(tf.math.ceil(margin_share * tf.cast(length, tf.float32)), tf.int32)
    first = tf.argmax(marks, output_type=tf.int32)
    last = length - tf.argmax(marks[::-1], output_type=tf.int32)
    return tf.maximum(first - margin, 0), tf.minimum(last + margin, length)
