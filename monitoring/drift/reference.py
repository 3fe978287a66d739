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
from components.shared.errors import ContractError
from components.shared.model_repository import read_card, version_folder
from components.shared.reference_profile import COLUMNS, read_reference
from components.shared.slices import spread_rows
from monitoring.drift.features import DISTANCES
from monitoring.drift.species_baseline import EmbeddingDistances, Floats, Names, SpeciesCentres

MIN_SPECIMENS = 6


@dataclass(frozen=True)
class Profile:
    """The reference of one version of a model.

    Attributes:
        card: the model card.
        slices: a row per held-out slice, as `components.shared.reference_profile` says.
    """

    card: ModelCard
    slices: pd.DataFrame

    @cached_property
    def described(self) -> list[str]:
        """The descriptors that the reference has: traffic is watched on these, whatever else its events hold."""
        return [str(name) for name in self.slices.select_dtypes("number") if name not in COLUMNS]

    @cached_property
    def descriptors(self) -> SpeciesCentres:
        """Where the reference's descriptors lie."""
        values = self.slices[self.described].to_numpy(np.float64)
        return SpeciesCentres(values, _names(self.slices, "species"), _names(self.slices, "specimen"))

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
        """A row per slice: `specimen`, `described`, and `monitoring.drift.features.ANSWERS`.

        Without DISTANCES where the model gives no embedding.
        """
        found = self.embeddings
        distances = (found.of_reference(), found.neighbours_of_reference()) if found else ()
        return self._features(self.slices, self.descriptors.reference_differences(), distances)

    def traffic_features(self, events: Sequence[DriftEvent]) -> pd.DataFrame:
        """Returns the same of answered slices; descriptors and embedding only where all slices have them."""
        answers = pd.DataFrame([{name: getattr(event, name) for name in COLUMNS} for event in events])
        species = _names(answers, "species")
        distances: tuple[Floats, ...] = ()
        if self.embeddings and all(len(event.embedding) == self.embeddings.length for event in events):
            embeddings = np.array([event.embedding for event in events])
            distances = self.embeddings.of(embeddings, species), self.embeddings.neighbours_of(embeddings)
        values = np.array([[event.descriptors.get(name, np.nan) for name in self.described] for event in events])
        return self._features(answers, self.descriptors.differences(values, species), distances).dropna(axis=1)

    def _features(self, answers: pd.DataFrame, differences: Floats, distances: Sequence[Floats]) -> pd.DataFrame:
        frame = pd.DataFrame(differences, columns=self.described)
        frame["confidence"] = answers["confidence"].to_numpy(np.float64)
        for name, distance in zip(DISTANCES, distances, strict=False):
            frame[name] = distance
        frame["species"] = _names(answers, "species")
        frame["unknown"] = np.where(answers["unknown"].to_numpy(bool), "unknown", "known")
        frame.insert(0, "specimen", _names(answers, "specimen"))
        return frame


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
    folder = version_folder(repository, model, version)
    card = read_card(folder)
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
    rows = spread_rows(slices["specimen"].to_numpy(str), most_slices)
    return Profile(card, slices.iloc[rows].reset_index(drop=True))


def _names(slices: pd.DataFrame, column: str) -> Names:
    return slices[column].to_numpy(str)
