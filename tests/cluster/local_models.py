"""Three models of local `smoke` runs on the same slices: almost untrained, as in the preset, and trained for longer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from components.shared.model_repository import artifact_folder, read_card
from pipelines.local.process import run_pipeline, scratch_folder
from pipelines.local.run import RunOptions, pipeline_call
from tests.cluster.kubectl import say

UNTRAINED, SHORT, LONG = "untrained", "short", "long"
RECIPES: dict[str, dict[str, Any]] = {UNTRAINED: {"epochs": 1, "learning_rate": 1e-7}, SHORT: {}, LONG: {"epochs": 12}}
"""Changes of the preset's recipe; the seed and the slices are the same."""


@dataclass(frozen=True)
class LocalModel:
    """Model of a local run.

    Attributes:
        served: Folder of the served model, the parent of its version folder.
        slices: Data set of the segmented slices that it was evaluated on.
        raw: Data set of the same slices before the segmentation.
    """

    served: Path
    slices: Path
    raw: Path

    @property
    def id(self) -> str:
        """Identifier that its answers contain."""
        return read_card(artifact_folder(self.served)).model_id

    def examples(self) -> dict[str, tuple[bytes, tuple[float, ...]]]:
        """Return images of known slices and the scores of the evaluation, by the slice's identifier."""
        folder = artifact_folder(self.served)
        return {item.id: ((folder / item.file).read_bytes(), item.scores) for item in read_card(folder).examples}


def make_models(folder: Path, recipes: dict[str, dict[str, Any]] = RECIPES) -> dict[str, LocalModel]:
    """Train the models with the preset `smoke`, or read those that the folder holds."""
    return {name: _make_model(folder / name, recipe) for name, recipe in recipes.items()}


def _make_model(folder: Path, recipe: dict[str, Any]) -> LocalModel:
    record = folder / "model.json"
    if not record.exists():
        folder.mkdir(parents=True)
        record.write_text(json.dumps(_train(folder, recipe)))
    model = LocalModel(**{name: Path(path) for name, path in json.loads(record.read_text()).items()})
    card = read_card(artifact_folder(model.served))
    say(f"model {folder.name}: slice accuracy {card.metrics.accuracy:.2f}, id {model.id[:12]}")
    return model


def _train(folder: Path, recipe: dict[str, Any]) -> dict[str, str]:
    options = RunOptions(
        preset="smoke", volumes=None, photos=None, backbones=(), threshold=None, seed=0, out=folder / "out"
    )
    pipeline, arguments = pipeline_call(options)
    arguments["recipe"] = {**arguments["recipe"], **recipe}
    with scratch_folder():
        success, _, artifacts = run_pipeline(pipeline, arguments, folder, Console(quiet=True))
    assert success, f"the local run failed: see {folder / 'run.log'}"
    names = {"served": ("evaluate", "served"), "slices": ("segment", "segmented"), "raw": ("ingest", "slices")}
    return {name: str(artifacts.of(*place)) for name, place in names.items()}
