"""Preprocessing of an encoded slice before a backbone: the one TensorFlow graph of training, evaluation and serving."""

import tensorflow as tf

from components.shared.images.graph_decoding import decode_slice

CROP_MARGIN = 5 / 224


def decode_and_crop(contents: tf.Tensor, image_size: int, channels: int) -> tf.Tensor:
    """Decode an image, crop it to the specimen and pad it to a square.

    The crop is the bounding box of the pixels above zero with the published margin of 5 px at 224 px.

    Args:
        contents: Scalar string, a PNG (8 or 16 bit) or JPEG file. The transformer converts other formats to PNG.
        image_size: Edge of the result in pixels.
        channels: 1 for grey, 3 for colour.

    Returns:
        The crop, uint8 [image_size, image_size, channels]; integers, so that training caches exactly the pixels that
        serving computes.
    """
    crop = _pad_thin_strips(crop_to_specimen(decode_slice(contents, channels)), image_size)
    floats = _resize(tf.cast(crop, tf.float32), _fitting_sides(crop, image_size))
    integers = tf.cast(tf.clip_by_value(tf.round(floats), 0.0, 255.0), tf.uint8)
    return _pad_to_square(integers, image_size)


def crop_to_specimen(image: tf.Tensor) -> tf.Tensor:
    """Crop uint8 [H, W, C] to the bounding box of its pixels above zero plus the margin; a black image stays whole."""
    foreground = tf.reduce_any(image > 0, axis=-1)
    top, bottom = _extent(tf.reduce_any(foreground, axis=1))
    start, stop = _extent(tf.reduce_any(foreground, axis=0))
    return image[top:bottom, start:stop]


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


def _pad_to_square(image: tf.Tensor, image_size: int) -> tf.Tensor:
    padding = image_size - tf.shape(image)[:2]
    before = padding // 2
    paddings = tf.stack([before, padding - before], axis=1)
    square = tf.pad(image, tf.concat([paddings, [[0, 0]]], axis=0))
    return tf.ensure_shape(square, [image_size, image_size, image.shape[-1]])


def _pad_thin_strips(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Pad a strip that is so thin that it would vanish when its long side is reduced to `image_size`."""
    sides = tf.shape(image)[:2]
    padding = tf.where(sides * image_size < tf.reduce_max(sides), tf.reduce_max(sides) // image_size + 1 - sides, 0)
    return tf.pad(image, [[0, padding[0]], [0, padding[1]], [0, 0]])


def _extent(foreground: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return start and stop of the True elements of a vector, widened by the margin; all of it if none is True."""
    length = tf.shape(foreground)[0]
    marks = tf.cast(foreground, tf.int32)
    margin = tf.cast(tf.math.ceil(CROP_MARGIN * tf.cast(length, tf.float32)), tf.int32)
    first = tf.argmax(marks, output_type=tf.int32)
    last = length - tf.argmax(marks[::-1], output_type=tf.int32)
    return tf.maximum(first - margin, 0), tf.minimum(last + margin, length)
