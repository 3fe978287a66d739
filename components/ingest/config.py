"""The parameters of a data set."""

from typing import Any, Self

from pydantic import Field

from components.shared.config import Frozen, checked
from components.shared.volumes.planes import Schedule


class IngestConfig(Frozen):
    """What decides a data set besides its volumes.

    Attributes:
        image_size: edge of the slices in pixels.
        slices_per_species: quota, spread evenly over the species' specimens.
        planes: `published` or `random`.
        seed: of planes and split.
        workers: processes, 0 for all cores; the result does not depend on it.
        downloads: volumes that are downloaded at a time from an object store.
        scratch_bytes: disk space for downloaded volumes; each is deleted when it is cut, and a larger one is refused.
    """

    image_size: int = Field(ge=16, le=1024)
    slices_per_species: int = Field(ge=3, le=10_000_000)
    planes: Schedule
    seed: int = Field(ge=0, lt=2**63)
    workers: int = Field(default=0, ge=0, le=1024)
    downloads: int = Field(default=4, ge=1, le=64)
    scratch_bytes: int = Field(default=32 * 2**30, ge=1)

    @classmethod
    def checked(cls, **fields: Any) -> Self:
        """Makes a configuration.

        Raises:
            BadConfigError: a value that cannot work.
        """
        return checked(cls, fields, "parameter")
