"""A section of a scan with the outline of its mask, as a small picture for pages."""

import cv2
import numpy as np

from components.shared.images.decoding import encode_png
from components.shared.volumes.specimen import Specimen

LONGEST_SIDE = 160
_OUTLINE_COLOUR = (255, 120, 0)


def draw_section(specimen: Specimen) -> bytes:
    """Return the layer through the middle of the mask as PNG, with the outline of the mask, at most 160 pixels wide."""
    depths = specimen.outline[:, 0] / specimen.zooms_mm[0]
    layer = int((depths.min() + depths.max()) / 2)
    sides_mm = np.array(specimen.grey.shape[1:]) * specimen.zooms_mm[1:]
    height, width = np.maximum(1, np.rint(sides_mm / sides_mm.max() * LONGEST_SIDE)).astype(int).tolist()
    grey = cv2.resize(specimen.grey[layer], (width, height), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(specimen.mask[layer].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return encode_png(cv2.drawContours(picture, outlines, -1, _OUTLINE_COLOUR))
