"""Descriptors are the same numbers wherever an image lies in memory."""

import cv2
import numpy as np

from components.shared.descriptors import describe


def test_descriptors_do_not_depend_on_the_place_in_memory() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(1, 256, (224, 224), np.uint8), (5, 5), 1)
    kept, seen = [], set()
    for _ in range(200):
        kept.append(np.empty(rng.integers(1, 3000), np.uint8))  # moves what is allocated next
        seen.add(tuple(describe(image.copy()).items()))
    assert len(seen) == 1
