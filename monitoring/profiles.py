"""What traffic is compared with: the served model's reference profile, as features.

The features are the descriptors relative to the species answered, the confidence, the embedding's distances from its
species and from its neighbours, the species itself and whether it is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from components.shared.contracts import DriftEvent, ModelCard
from components.shared.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS
from components.shared.errors import BadInputError, ContractError
from components.shared.reference import COLUMNS, read_reference
from monitoring.centres import EmbeddingDistances, Floats, Names, SpeciesCentres

NAMES = ("species", "unknown")
DISTANCES = ("embedding_distance", "neighbour_distance")
NUMBERS = (*DESCRIPTORS, *COLOUR_DESCRIPTORS, "confidence", *DISTANCES)
SLICE_FEATURES = (*DESCRIPTORS, "confidence", *DISTANCES, *NAMES)
"""Of slices in grey; slices in colour have COLOUR_DESCRIPTORS besides."""
MIN_SPECIMENS = 6


@dataclass(frozen=True)
class Profile:
    """The reference of one version of a model.

    Attributes:
        card: the model card.
        slices: a row per held-out slice with exactly the columns of `components.shared.reference.COLUMNS`.
    """

    card: ModelCard
    slices: pd.DataFrame

    @cached_property
    def described(self) -> list[str]:
        """The names of the descriptors that the reference has."""
        return [*DESCRIPTORS, *(name for name in COLOUR_DESCRIPTORS if name in self.slices)]

    @cached_property
    def descriptors(self) -> SpeciesCentres:
        """Where the reference's descriptors lie."""
        return SpeciesCentres(
            _descriptors(self.slices, self.described), _names(self.slices, "species"), _names(self.slices, "specimen")
        )

    @cached_property
    def embeddings(self) -> EmbeddingDistances | None:
        """Where the reference's embeddings lie, or None where the model gives none."""
        lengths = self.slices["embedding"].map(len)
        if lengths.min() == 0 or lengths.nunique() != 1:
            return None
        embeddings = np.stack(self.slices["embedding"].to_list()).astype(np.float64)
        return EmbeddingDistances(embeddings, _names(self.slices, "species"), _names(self.slices, "specimen"))

    @cached_property
    def features(self) -> pd.DataFrame:
        """A row per slice: `specimen` and SLICE_FEATURES.

        Without DISTANCES where the model gives no embedding; slices in colour have COLOUR_DESCRIPTORS too.
        """
        found = self.embeddings
        distances = (found.of_reference(), found.neighbours_of_reference()) if found else ()
        return _features(self.slices, self.described, self.descriptors.reference_differences(), distances)

    def traffic_features(self, events: Sequence[DriftEvent]) -> pd.DataFrame:
        """Returns `specimen` and SLICE_FEATURES of answered slices; embedding and colour only where all have it."""
        slices = pd.DataFrame([_row(event) for event in events])
        species = _names(slices, "species")
        distances: tuple[Floats, ...] = ()
        if self.embeddings and all(len(event.embedding) == self.embeddings.length for event in events):
            embeddings = np.array([event.embedding for event in events])
            distances = self.embeddings.of(embeddings, species), self.embeddings.neighbours_of(embeddings)
        differences = self.descriptors.differences(_descriptors(slices, self.described), species)
        return _features(slices, self.described, differences, distances).dropna(axis=1)


def find_models(repository: Path) -> dict[str, list[int]]:
    """Returns the versions of each model in a repository, oldest first."""
    versions: dict[str, list[int]] = {}
    for card in sorted(repository.glob("*/*/model.json")):
        version = card.parent.name
        if version.isdecimal():
            versions.setdefault(card.parent.parent.name, []).append(int(version))
    return {model: sorted(found) for model, found in versions.items()}


def require_models(repository: Path) -> dict[str, list[int]]:
    """Returns `find_models`.

    Raises:
        BadInputError: there is none.
    """
    models = find_models(repository)
    if not models:
        raise BadInputError(
            f"{repository} holds no served model", "<model>/<version>/model.json", "Publish one first, with make run."
        )
    return models


def load_profile(repository: Path, model: str, version: int, most_slices: int) -> Profile:
    """Loads the reference profile of a served model.

    Args:
        repository: the model repository.
        model: a name that `find_models` gave.
        version: one of its versions.
        most_slices: how many slices are kept at most, the same share of every specimen's.

    Raises:
        ContractError: the card or the profile is missing, damaged, of another schema, or has too few specimens.
    """
    folder = repository / model / str(version)
    card = ModelCard.read(folder / "model.json")
    path = folder / card.reference
    slices = read_reference(path)
    missing = [column for column in COLUMNS if column not in slices]
    if missing:
        raise ContractError(f"{path} lacks the columns {', '.join(missing)}", f"{', '.join(COLUMNS)}")
    numbers = slices.select_dtypes("number").to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        raise ContractError(f"{path} holds numbers that are not finite", "finite descriptors and confidences")
    if slices["specimen"].nunique() < MIN_SPECIMENS:
        found = f"{path} has {slices['specimen'].nunique()} specimens"
        raise ContractError(
            found, f"at least {MIN_SPECIMENS} to calibrate thresholds on", "Evaluate on more specimens."
        )
    return Profile(card, _thinned(slices, most_slices))


def _thinned(slices: pd.DataFrame, most: int) -> pd.DataFrame:
    if len(slices) <= most:
        return slices.reset_index(drop=True)
    step = int(np.ceil(len(slices) / most))
    return slices[slices.groupby("specimen").cumcount() % step == 0].reset_index(drop=True)


def _row(event: DriftEvent) -> dict[str, object]:
    return {
        "specimen": event.specimen,
        "species": event.species,
        "confidence": event.confidence,
        "unknown": event.unknown,
        **event.descriptors,
    }


def _descriptors(slices: pd.DataFrame, names: Sequence[str]) -> Floats:
    return slices.reindex(columns=list(names)).to_numpy(np.float64)


def _names(slices: pd.DataFrame, column: str) -> Names:
    return slices[column].to_numpy(str)


def _features(
    slices: pd.DataFrame, names: Sequence[str], descriptors: Floats, distances: Sequence[Floats]
) -> pd.DataFrame:
    frame = pd.DataFrame(descriptors, columns=list(names))
    frame["confidence"] = slices["confidence"].to_numpy(np.float64)
    for name, distance in zip(DISTANCES, distances, strict=False):
        frame[name] = distance
    frame["species"] = _names(slices, "species")
    frame["unknown"] = np.where(slices["unknown"].to_numpy(bool), "unknown", "known")
    frame.insert(0, "specimen", _names(slices, "specimen"))
    return frame
