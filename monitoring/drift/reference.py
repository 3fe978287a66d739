"""The reference profile of a served model, as the features that windows are compared on.

The features are the descriptors relative to the predicted species, the confidence, the distances of the embedding from
its species and from its neighbours, the predicted species, and whether the slice is predicted as unknown.
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
from monitoring.drift.distances import Floats
from monitoring.drift.features import EMBEDDING_DISTANCES
from monitoring.drift.species_baseline import EmbeddingBaseline, Names, SpeciesBaseline

MIN_SPECIMENS = 6


@dataclass(frozen=True)
class ReferenceProfile:
    """The reference profile of one version of a model.

    Attributes:
        card: Model card of the version.
        slices: One row per held-out slice, with the columns of `components.shared.reference_profile`.
    """

    card: ModelCard
    slices: pd.DataFrame

    @cached_property
    def descriptor_names(self) -> list[str]:
        """All descriptors in the reference, by name; other descriptors in the events are ignored."""
        return [str(name) for name in self.slices.select_dtypes("number") if name not in COLUMNS]

    @cached_property
    def descriptor_baseline(self) -> SpeciesBaseline:
        """Mean descriptors of each species in the reference."""
        values = self.slices[self.descriptor_names].to_numpy(np.float64)
        return SpeciesBaseline(values, _names(self.slices, "species"), _names(self.slices, "specimen"))

    @cached_property
    def embedding_baseline(self) -> EmbeddingBaseline | None:
        """Reference embeddings, or None if the model has none."""
        lengths = self.slices["embedding"].map(len)
        if lengths.min() == 0 or lengths.nunique() != 1:
            return None
        embeddings = np.stack(self.slices["embedding"].to_list()).astype(np.float64)
        return EmbeddingBaseline(embeddings, _names(self.slices, "species"), _names(self.slices, "specimen"))

    @cached_property
    def features(self) -> pd.DataFrame:
        """One row per slice: `specimen`, the descriptors, and PREDICTION_FEATURES of `monitoring.drift.features`.

        EMBEDDING_DISTANCES are absent if the model has no embedding.
        """
        baseline = self.embedding_baseline
        distances = (
            (baseline.reference_species_distances(), baseline.reference_neighbour_distances()) if baseline else ()
        )
        return self._features(self.slices, self.descriptor_baseline.reference_differences(), distances)

    def traffic_features(self, events: Sequence[DriftEvent]) -> pd.DataFrame:
        """Return the same columns for drift events, without descriptors or embeddings that some events lack."""
        predictions = pd.DataFrame([{name: getattr(event, name) for name in COLUMNS} for event in events])
        species = _names(predictions, "species")
        distances: tuple[Floats, ...] = ()
        baseline = self.embedding_baseline
        if baseline and all(len(event.embedding) == baseline.length for event in events):
            embeddings = np.array([event.embedding for event in events])
            distances = baseline.species_distances(embeddings, species), baseline.neighbour_distances(embeddings)
        values = np.array([[event.descriptors.get(name, np.nan) for name in self.descriptor_names] for event in events])
        differences = self.descriptor_baseline.differences(values, species)
        return self._features(predictions, differences, distances).dropna(axis=1)

    def _features(self, predictions: pd.DataFrame, differences: Floats, distances: Sequence[Floats]) -> pd.DataFrame:
        frame = pd.DataFrame(differences, columns=self.descriptor_names)
        frame["confidence"] = predictions["confidence"].to_numpy(np.float64)
        for name, distance in zip(EMBEDDING_DISTANCES, distances, strict=False):
            frame[name] = distance
        frame["species"] = _names(predictions, "species")
        frame["unknown"] = np.where(predictions["unknown"].to_numpy(bool), "unknown", "known")
        frame.insert(0, "specimen", _names(predictions, "specimen"))
        return frame


def load_profile(repository: Path, model: str, version: int, max_slices: int) -> ReferenceProfile:
    """Load the reference profile of a served model.

    Args:
        repository: Folder of the model repository.
        model: Name of a model in it.
        version: Version of the model.
        max_slices: Largest number of slices to keep, with the same share of every specimen.

    Raises:
        ContractError: The card or the profile is missing, damaged, of another schema, or has too few specimens.
    """
    folder = version_folder(repository, model, version)
    card = read_card(folder)
    path = folder / card.reference
    slices = read_reference(path)
    absent_columns = [column for column in COLUMNS if column not in slices]
    if absent_columns:
        raise ContractError(f"{path} lacks the columns {', '.join(absent_columns)}", f"{', '.join(COLUMNS)}")
    numbers = slices.select_dtypes("number").to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        raise ContractError(f"{path} has values that are not finite", "finite descriptors and confidences")
    specimens = slices["specimen"].nunique()
    if specimens < MIN_SPECIMENS:
        raise ContractError(
            f"{path} has {specimens} specimens",
            f"at least {MIN_SPECIMENS} to calibrate thresholds",
            "Evaluate the model on more specimens.",
        )
    rows = spread_rows(slices["specimen"].to_numpy(str), max_slices)
    return ReferenceProfile(card, slices.iloc[rows].reset_index(drop=True))


def _names(slices: pd.DataFrame, column: str) -> Names:
    return slices[column].to_numpy(str)
