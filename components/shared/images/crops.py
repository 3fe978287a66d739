"""What happens to an encoded slice before a backbone sees it.

The one TensorFlow graph of training, evaluation and serving.
"""

import tensorflow as tf

CROP_MARGIN = 5 / 224


def decode_and_crop(encoded: tf.Tensor, image_size: int, channels: int) -> tf.Tensor:
    """Decodes an image, crops it to the specimen and pads it to a square.

    The crop is the bounding box of the pixels above zero with the published margin of 5 px at 224 px.

    Args:
        encoded: scalar string, a PNG (8 or 16 bit) or JPEG file; the transformer makes PNG of every other format.
        image_size: edge of the result in pixels.
        channels: 1 or 3.

    Returns:
        uint8 [image_size, image_size, channels], so that what is cached in training is what is served.
    """
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    image.set_shape([None, None, channels])
    cropped = _without_slivers(crop_to_specimen(image), image_size)
    resized = _resized(tf.cast(cropped, tf.float32), _fitted(cropped, image_size))
    whole = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
    return _padded_to_square(whole, image_size)


def crop_to_specimen(image: tf.Tensor) -> tf.Tensor:
    """Crops uint8 [H, W, C] to the bounding box of its pixels above zero plus the margin; a black image stays whole."""
    above_zero = tf.reduce_any(image > 0, axis=-1)
    top, bottom = _extent(tf.reduce_any(above_zero, axis=1))
    left, right = _extent(tf.reduce_any(above_zero, axis=0))
    return image[top:bottom, left:right]


def _fitted(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Returns height and width that fit the square, in whole numbers: floats are one pixel off in some graphs."""
    sides = tf.shape(image)[:2]
    return sides * image_size // tf.reduce_max(sides)


def _resized(image: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Resizes bilinearly; where an image grows, antialiasing would change nothing and take five times as long."""
    return tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > sides),
        lambda: tf.image.resize(image, sides, antialias=True),
        lambda: tf.image.resize(image, sides),
    )


def _padded_to_square(image: tf.Tensor, image_size: int) -> tf.Tensor:
    missing = image_size - tf.shape(image)[:2]
    before = missing // 2
    paddings = tf.stack([before, missing - before], axis=1)
    padded = tf.pad(image, tf.concat([paddings, [[0, 0]]], axis=0))
    return tf.ensure_shape(padded, [image_size, image_size, image.shape[-1]])


def _without_slivers(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Pads a strip so thin that nothing of it would be left when its long side is reduced to `image_size`."""
    sides = tf.shape(image)[:2]
    missing = tf.where(sides * image_size < tf.reduce_max(sides), tf.reduce_max(sides) // image_size + 1 - sides, 0)
    return tf.pad(image, [[0, missing[0]], [0, missing[1]], [0, 0]])


def _extent(occupied: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first and one past the last True of a vector, widened by the margin; all of it if none is True."""
    length = tf.shape(occupied)[0]
    marks = tf.cast(occupied, tf.int32)
    margin = tf.cast(tf.math.ceil(CROP_MARGIN * tf.cast(length, tf.float32)), tf.int32)
    first = tf.argmax(marks, output_type=tf.int32)
    last = length - tf.argmax(marks[::-1], output_type=tf.int32)
    return tf.maximum(first - margin, 0), tf.minimum(last + margin, length)
