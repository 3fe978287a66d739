"""The twelve parametric forms after genera of larger foraminifera, by name.

Each form is a function of positions (body units), a wall thickness (body units) and a seeded generator that draws
the parameters of the specimen. Forms differ in anatomy only: size, grey level and wall thickness come from
distributions that all species share (see `specimen`). The cells of every lattice are counted in wall thicknesses,
so walls and cavities stay visible at any resolution.
"""

from collections.abc import Callable

import numpy as np

from components.phantoms.anatomy.cones import chrysalidina, coskinolina, lockhartia, minoxia, rhapydionina
from components.phantoms.anatomy.discs import baculogypsina, fallotia, orbitoides
from components.phantoms.anatomy.fields import Anatomy, Points
from components.phantoms.anatomy.spirals import alveolina, arumella, ataxophragmium, elphidiella

Form = Callable[[Points, float, np.random.Generator], Anatomy]

FORMS: dict[str, Form] = {
    "Alveolina": alveolina,
    "Arumella": arumella,
    "Ataxophragmium": ataxophragmium,
    "Baculogypsina": baculogypsina,
    "Chrysalidina": chrysalidina,
    "Coskinolina": coskinolina,
    "Elphidiella": elphidiella,
    "Fallotia": fallotia,
    "Lockhartia": lockhartia,
    "Minoxia": minoxia,
    "Orbitoides": orbitoides,
    "Rhapydionina": rhapydionina,
}
