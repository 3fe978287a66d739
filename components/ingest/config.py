"""The parameters of a data set."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator

from components.shared.config import Frozen, checked
from components.shared.volumes.plane_schedules import Schedule

DoubtfulMasks = Literal["keep", "refuse"]
RareSpecies = Literal["unseen", "train", "refuse"]


class IngestConfig(Frozen):
    """Parameters of a data set; together with the source files they determine its bytes.

    Attributes:
        image_size: Edge of the slices in pixels.
        slices_per_species: Slices of each species, spread evenly over its specimens.
        planes: Schedule of the planes, `published` or `random`.
        seed: Seed of the planes and of the split.
        doubtful_masks: Treatment of scans whose segmentation is doubtful: `keep` (report them) or `refuse`.
        folds: Number of folds of the cross-validation; 0 for a test split, -1 for 5 folds of up to 150 specimens.
        confined: Whether the files of a local manifest must be inside its folder. Object stores are always confined.
        rare_species: Treatment of species with fewer than three specimens: `unseen` (species that the model has to
            recognize as unknown), `train` (outside the gate's floors), or `refuse` (the run ends).
        workers: Number of processes, 0 for all cores. It does not change the result.
        downloads: Number of parallel downloads from an object store.
        scratch_bytes: Disk space for downloaded volumes. Each is deleted once it is cut; a larger one is refused.
    """

    image_size: int = Field(ge=16, le=1024)
    slices_per_species: int = Field(ge=3, le=10_000_000)
    planes: Schedule
    seed: int = Field(ge=0, lt=2**63)
    doubtful_masks: DoubtfulMasks = "keep"
    folds: int = Field(default=0, ge=-1, le=100)
    confined: bool = True
    rare_species: RareSpecies = "unseen"
    workers: int = Field(default=0, ge=0, le=1024)
    downloads: int = Field(default=4, ge=1, le=64)
    scratch_bytes: int = Field(default=32 * 2**30, ge=1)

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("1 fold has nothing to train on; set it to 2 or more, to 0 for none, or to -1")
        return folds

    @classmethod
    def checked(cls, **fields: Any) -> Self:
        """Return a configuration of checked values.

        Raises:
            BadConfigError: A parameter is unknown or its value is out of range.
        """
        return checked(cls, fields, "parameter")
