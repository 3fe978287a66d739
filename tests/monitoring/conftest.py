"""Slices of phantoms with predictions of a small classifier: a reference profile, and traffic to compare with it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.shared.contracts import GateVerdict, ModelCard
from components.shared.images.decoding import Pixels
from components.shared.images.descriptors import DESCRIPTORS, describe
from components.shared.images.segmentation import segment_slice
from components.shared.reference_profile import write_reference
from monitoring.config import MonitorConfig
from monitoring.drift.reference import ReferenceProfile, load_profile
from tests.model_cards import model_score
from tests.monitoring.drift_traffic import MODEL

SPECIES = ("Alveolina", "Baculogypsina", "Coskinolina", "Lockhartia", "Orbitoides", "Rhapydionina")
EDGE = 40
SLICES = 8
Change = Callable[[Pixels], Pixels]


def cut(volume: NDArray[np.uint8], rng: np.random.Generator) -> Pixels:
    """Cut an oblique slice near the middle of a volume."""
    low, high = np.percentile(volume, (1, 99))
    down, across, normal = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    steps = np.arange(EDGE) - (EDGE - 1) / 2
    middle = (np.array(volume.shape) - 1) / 2 + rng.uniform(-0.2, 0.2) * EDGE * normal
    points = middle[:, None, None] + down[:, None, None] * steps[:, None] + across[:, None, None] * steps
    grey = ndimage.map_coordinates(volume.astype(np.float32), points, order=1, mode="nearest")
    return np.clip((grey - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def unchanged(image: Pixels) -> Pixels:
    return image


def flattened(image: Pixels) -> Pixels:
    """Halve the contrast about the mean."""
    return np.asarray(image.mean() + 0.5 * (image - image.mean())).astype(np.uint8)


def described_slices(
    indexes: Iterable[int],
    artefacts: Artefacts | None = None,
    change: Change = unchanged,
    species: Sequence[str] = SPECIES,
) -> pd.DataFrame:
    """Return `truth`, `specimen` and DESCRIPTORS of SLICES slices of each phantom, with the specimens shuffled."""
    rows = []
    for index in indexes:
        for name in species:
            specimen = make_specimen(name, index, EDGE, 0, artefacts or Artefacts())
            rng = np.random.default_rng([index, SPECIES.index(name) if name in SPECIES else 99])
            for _ in range(SLICES):
                image = segment_slice(change(cut(specimen.volume, rng)))
                rows.append({"truth": name, "specimen": specimen.name, **describe(image)})
    slices = pd.DataFrame(rows)
    order = np.random.default_rng(0).permutation(slices["specimen"].unique())
    return pd.concat([slices[slices["specimen"] == name] for name in order], ignore_index=True)


@dataclass(frozen=True)
class Predictor:
    """A classifier of descriptors with the outputs of a served model."""

    classifier: Pipeline
    unknown_below: float

    def predict(self, slices: pd.DataFrame) -> pd.DataFrame:
        """Add `species`, `confidence`, `unknown` and `embedding`."""
        scores = self.classifier.predict_proba(slices[list(DESCRIPTORS)])
        embedding = self.classifier.decision_function(slices[list(DESCRIPTORS)])
        return slices.assign(
            species=self.classifier.classes_[scores.argmax(axis=1)],
            confidence=scores.max(axis=1),
            unknown=scores.max(axis=1) < self.unknown_below,
            embedding=[row.tolist() for row in embedding],
        )


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    training = described_slices(range(4))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    classifier.fit(training[list(DESCRIPTORS)], training["truth"])
    return Predictor(classifier, 0.4)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, predictor: Predictor) -> Path:
    """Create a model repository with versions 1 and 2 of a model, and their reference profiles."""
    root = tmp_path_factory.mktemp("models")
    reference = predictor.predict(described_slices(range(100, 107)))
    for version in (1, 2):
        folder = root / MODEL / str(version)
        folder.mkdir(parents=True)
        write_reference(folder / "reference.parquet", reference)
        model_card().write(folder / "model.json")
    return root


def model_card() -> ModelCard:
    return ModelCard(
        name=MODEL,
        classes=SPECIES,
        channels=1,
        segmented=True,
        members=("logistic",),
        rule="one member",
        metrics=model_score(),
        thresholds={"unknown": 0.4},
        gate=GateVerdict(passed=True, accuracy=1.0, threshold=0.9, reasons=()),
        data_hash="0" * 64,
        code_version="test",
    )


@pytest.fixture(scope="session")
def profile(repository: Path) -> ReferenceProfile:
    return load_profile(repository, MODEL, 1, 2000)


@pytest.fixture(scope="session")
def clean(predictor: Predictor) -> pd.DataFrame:
    """Predict slices of new specimens without artefacts."""
    return predictor.predict(described_slices(range(200, 212)))


@pytest.fixture(scope="session")
def drifted_slices(predictor: Predictor) -> dict[str, pd.DataFrame]:
    """Predict slices of new specimens with an artefact, by artefact."""
    slices = {
        "noise": described_slices(range(300, 304), Artefacts(noise=6.0)),
        "blur": described_slices(range(300, 304), Artefacts(blur=3.5)),
        "contrast": described_slices(range(300, 304), change=flattened),
    }
    return {name: predictor.predict(table) for name, table in slices.items()}


@pytest.fixture
def config(tmp_path: Path, repository: Path) -> MonitorConfig:
    """Configure a monitor with windows of 60 slices of 8 specimens, in folders that do not exist yet."""
    return MonitorConfig(
        events=tmp_path / "events",
        repository=repository,
        out=tmp_path / "monitoring",
        window_slices=60,
        window_specimens=8,
        resamples=500,
        port=0,
    )
