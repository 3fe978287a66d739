"""Open-set scores on the unseen species of the sample run: the scores of the model selection beside published others.

Each seed is a training of the preset `sample`. Every score is fitted on training slices alone; the share of unseen
slices flagged is at the threshold that flags 5 % of the known test slices.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax, xlogy
from sklearn.covariance import ledoit_wolf

from tests.benchmarks.measurement import Measurement

SEEDS, KNOWN_FLAGGED, BAR_AUROC, BAR_FLAGGED = (0, 1, 2), 0.05, 0.97, 0.80
MOST_TRAINING_SLICES = 2048
Values = NDArray[np.float64]
Outputs = Any
"""`EnsembleOutputs` of a split; imported only where a benchmark runs."""


def relative_mahalanobis(training: Outputs, labels: NDArray[np.int64], split: Outputs) -> Values:
    """Return the Mahalanobis distance to the nearest species minus that to all of them (Ren et al. 2021)."""
    return _mean(_relative(*pair, labels) for pair in zip(training.embeddings, split.embeddings, strict=True))


def whitened_knn(training: Outputs, labels: NDArray[np.int64], split: Outputs) -> Values:
    """Return the distance to the nearest training slice in the whitened embedding (Sun et al. 2022)."""
    from components.evaluate.open_set import LayerBank

    pairs = zip(training.embeddings, split.embeddings, strict=True)
    return _mean(LayerBank.fit(known, labels).distances(embedding) for known, embedding in pairs)


def residual(training: Outputs, _: NDArray[np.int64], split: Outputs) -> Values:
    """Return the norm of the embedding outside the principal space of the training slices (Wang et al. 2022)."""
    return _mean(_residuals(known, values) for known, values in zip(training.embeddings, split.embeddings, strict=True))


def vim(training: Outputs, _: NDArray[np.int64], split: Outputs) -> Values:
    """Return the virtual logit minus the energy (Wang et al. 2022)."""
    members = zip(training.embeddings, training.logits, split.embeddings, split.logits, strict=True)
    return _mean(_virtual_logit(*member) for member in members)


def feature_norm(_: Outputs, __: NDArray[np.int64], split: Outputs) -> Values:
    """Return minus the norm of the embedding (Vaze et al. 2022)."""
    return _mean(-np.linalg.norm(embedding, axis=1) for embedding in split.embeddings)


def disagreement(_: Outputs, __: NDArray[np.int64], split: Outputs) -> Values:
    """Return the mutual information of species and member (Lakshminarayanan et al. 2017)."""
    shares = [softmax(logits.astype(np.float64), axis=1) for logits in split.logits]
    entropies = [-xlogy(share, share).sum(axis=1) for share in (np.mean(shares, axis=0), *shares)]
    return np.asarray(entropies[0] - np.mean(entropies[1:], axis=0))


PUBLISHED: dict[str, Callable[[Outputs, NDArray[np.int64], Outputs], Values]] = {
    "relative_mahalanobis": relative_mahalanobis,
    "whitened_knn": whitened_knn,
    "residual": residual,
    "vim": vim,
    "feature_norm": feature_norm,
    "disagreement": disagreement,
}


def _mean(values: Any) -> Values:
    return np.asarray(np.mean(list(values), axis=0, dtype=np.float64))


def _relative(known: NDArray[np.float32], values: NDArray[np.float32], labels: NDArray[np.int64]) -> Values:
    means = np.stack([known[labels == label].mean(axis=0) for label in np.unique(labels)])
    rows = np.unique(labels, return_inverse=True)[1]
    within = np.linalg.inv(ledoit_wolf(known - means[rows], assume_centered=True)[0])
    overall = np.linalg.inv(ledoit_wolf(known)[0])
    nearest = np.min([_square(values - mean, within) for mean in means], axis=0)
    return np.asarray(nearest - _square(values - known.mean(axis=0), overall))


def _square(offsets: NDArray[Any], precision: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.einsum("nd,de,ne->n", offsets, precision, offsets, optimize=True))


def _residuals(known: NDArray[np.float32], values: NDArray[np.float32]) -> Values:
    mean = known.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov((known - mean).T))
    return np.asarray(np.linalg.norm((values - mean) @ vectors[:, : len(mean) // 2], axis=1))


def _virtual_logit(known: Any, known_logits: Any, values: Any, logits: Any) -> Values:
    scale = known_logits.max(axis=1).mean() / _residuals(known, known).mean()
    return np.asarray(scale * _residuals(known, values) - logsumexp(logits.astype(np.float64), axis=1))


def score_run(slices: Path, models: list[Path]) -> tuple[str, dict[str, tuple[float, float]]]:
    """Return the selected score, and AUROC and share flagged of each score on the unseen species of a run."""
    from components.evaluate.model_selection import EvaluationSource, select_on_validation
    from components.evaluate.open_set import outputs_of_rows
    from components.evaluate.predictions import load_member, predict_rows
    from components.shared.slices import UNSEEN, read_info, spread_rows

    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(folder, info) for folder in models)}
    with tempfile.TemporaryDirectory() as scratch:
        source = EvaluationSource(slices, info, members, Path(scratch))
        selection = select_on_validation(source)
        predictions = {split: source.predict(split).predictions for split in ("test", UNSEEN)}
        predictions["validation"] = selection.validation.predictions
        outputs = {name: outputs_of_rows(selection.ensemble, each, slice(None)) for name, each in predictions.items()}
        training = source.slices("train")
        rows = spread_rows(training.specimens, MOST_TRAINING_SLICES)
        bank = outputs_of_rows(
            selection.ensemble, predict_rows(slices, "train", rows, members, Path(scratch)), slice(None)
        )
    scores = _selectable_scores(outputs, selection.open_set.banks)
    for name, function in PUBLISHED.items():
        scores[name] = {split: function(bank, training.labels[rows], each) for split, each in outputs.items()}
    figures = {name: _figures(values["test"], values[UNSEEN]) for name, values in scores.items()}
    return selection.open_set.describe(), figures


def _selectable_scores(outputs: Mapping[str, Outputs], banks: Any) -> dict[str, dict[str, Values]]:
    """Return the scores and pairs that the model selection compares, by name and split."""
    from components.evaluate.open_set.scores import PAIRS, SCORES

    scores = {}
    for name, function in SCORES.items():
        values = {split: function(each, banks) for split, each in outputs.items()}
        median, high = np.quantile(values["validation"], (0.5, 1 - KNOWN_FLAGGED))
        scores[name] = {split: (array - median) / (high - median) for split, array in values.items()}
    pairs = {" + ".join(pair): pair for pair in PAIRS}
    return scores | {
        name: {split: scores[first][split] + scores[second][split] for split in outputs}
        for name, (first, second) in pairs.items()
    }


def _figures(known: Values, unseen: Values) -> tuple[float, float]:
    from components.shared import metrics

    flagged = unseen > np.quantile(known, 1 - KNOWN_FLAGGED)
    return metrics.separation(known, unseen), float(flagged.mean())


def train_sample(folder: Path, seed: int) -> tuple[Path, list[Path]]:
    """Run the preset `sample`; return the folder of its slices and those of its models."""
    command = [sys.executable, "-m", "pipelines.run", "--preset=sample", f"--seed={seed}", f"--out={folder}"]
    subprocess.run(command, check=False, capture_output=True)  # the gate may reject the model
    (description,) = folder.glob("2*/pipeline/*/segment/*/dataset.json")
    return description.parent, sorted(path.parent for path in folder.glob("2*/pipeline/*/*/train/*/model.keras"))


def table(results: Mapping[int, tuple[str, Mapping[str, tuple[float, float]]]]) -> Iterator[str]:
    """Yield the lines of the table: AUROC and share flagged of each seed and in the mean, the best first."""
    names = list(next(iter(results.values()))[1])
    means = {name: np.mean([figures[name] for _, figures in results.values()], axis=0) for name in names}
    for name in sorted(names, key=lambda name: -means[name][0]):
        seeds = "  ".join(f"{figures[name][0]:.3f} {figures[name][1]:.3f}" for _, figures in results.values())
        mark = "*" * sum(selected == name for selected, _ in results.values())
        yield f"{name:28} {seeds}  mean {means[name][0]:.3f} {means[name][1]:.3f} {mark}"


def open_set(scratch: Path) -> Iterator[Measurement]:
    """Train the sample for three seeds and compare the open-set scores; each seed's selected score is marked."""
    results = {seed: score_run(*train_sample(scratch / str(seed), seed)) for seed in SEEDS}
    print("\n".join(table(results)))
    auroc, flagged = np.mean([figures[selected] for selected, figures in results.values()], axis=0)
    mean = f"mean of {len(SEEDS)} seeds"
    bar = f"at least {BAR_AUROC}"
    yield Measurement("open-set AUROC of the selected", auroc, mean, BAR_AUROC, auroc / BAR_AUROC, bar)
    bar = f"at least {BAR_FLAGGED} where {KNOWN_FLAGGED} of known slices are"
    yield Measurement("open-set unseen slices flagged", flagged, mean, BAR_FLAGGED, flagged / BAR_FLAGGED, bar)


BENCHMARKS = {"open-set": open_set}
