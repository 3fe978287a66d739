"""Evaluation of generated slices in a separate process, which prints time and memory as JSON.

`python -m tests.benchmarks.evaluation_run FOLDER SLICES EDGE`: half of the slices are for validation, half for test;
three networks have random weights.
"""

import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BACKBONES = ("cnn_small", "resnet_small", "cnn_small")
SPECIES, SPECIMENS = 12, 24
_DIFFERENT_SLICES, _TRAINING_SLICES = 240, 1200


@dataclass(frozen=True)
class EvaluationCost:
    """Time and memory of an evaluation.

    Attributes:
        slices: Number of slices of validation and test together.
        seconds: Wall time of the evaluation without imports.
        network_seconds: Part of that time in the networks.
        peak_mib: Largest resident memory of the process in MiB.
    """

    slices: int
    seconds: float
    network_seconds: float
    peak_mib: float


def measure(folder: Path, slices: int, edge: int) -> EvaluationCost:
    """Run an evaluation in a separate process."""
    import subprocess

    command = [sys.executable, "-m", "tests.benchmarks.evaluation_run", str(folder), str(slices), str(edge)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr[-2000:])
    return EvaluationCost(**json.loads(result.stdout.splitlines()[-1]))


def make_slices(folder: Path, slices: int, edge: int) -> None:
    """Write a data set of discs with noise: half validation, half test, and some training slices."""
    import cv2
    import numpy as np

    from components.shared.contracts import SlicesInfo
    from components.shared.images.decoding import encode_png
    from components.shared.images.descriptors import describe
    from components.shared.slices import Slice, SlicesWriter

    rng = np.random.default_rng(0)
    pngs, descriptors = [], []
    for number in range(_DIFFERENT_SLICES):
        image = np.zeros((edge, edge), np.uint8)
        cv2.circle(image, (edge // 2, edge // 2), edge // 6 + number % (edge // 4), 200, -1)
        image = np.where(image > 0, rng.integers(1, 256, image.shape, np.uint8), image)
        pngs.append(encode_png(image))
        descriptors.append(describe(image))
    classes = tuple(f"species-{number:02d}" for number in range(SPECIES))
    folder.mkdir(parents=True)
    with SlicesWriter(folder, classes) as writer:
        for number in range(slices + _TRAINING_SLICES):
            split = ("validation", "test")[number % 2] if number < slices else "train"
            species = classes[number // 2 % SPECIES]
            specimen = f"{species}-{split}-{number // 2 // SPECIES % SPECIMENS}"
            kind = number % _DIFFERENT_SLICES
            writer.add(Slice(f"{number:07d}", species, specimen, split, "x", 0.3, 0.0, descriptors[kind], pngs[kind]))
        info = SlicesInfo(
            classes=classes,
            image_size=edge,
            channels=1,
            counts=writer.counts(),
            seed=0,
            preprocessing={"segment": {}},
            sources_hash="made up",
        )
        writer.finish(info)


def make_members(folder: Path, edge: int) -> list[Path]:
    """Write untrained backbones with their cards."""
    from components.shared.contracts import BackboneCard
    from components.train.backbones.build import build_backbone
    from components.train.backbones.registry import InputSpec

    folders = []
    for number, backbone in enumerate(BACKBONES):
        model = build_backbone(backbone, InputSpec(edge, 1, SPECIES))
        card = BackboneCard(
            backbone=f"{backbone}_{number}",
            parameters=model.count_params(),
            image_size=edge,
            channels=1,
            classes=tuple(f"species-{label:02d}" for label in range(SPECIES)),
            recipe={},
            history=(),
            metrics={},
            data_hash="made up",
            seconds=0.0,
        )
        folders.append(folder / card.backbone)
        folders[-1].mkdir(parents=True)
        model.save(folders[-1] / "model.keras")
        card.write(folders[-1] / "model.json")
    return folders


def main() -> None:
    """Generate slices and networks, evaluate, and print time and memory."""
    from components.evaluate.config import EvaluationConfig
    from components.evaluate.evaluation import evaluate_models
    from components.evaluate.report.writer import write_report

    folder, slices, edge = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        make_slices(Path(scratch) / "slices", slices, edge)
        members = make_members(Path(scratch) / "members", edge)
        config, start = EvaluationConfig(name="made-up"), time.perf_counter()
        evaluation = evaluate_models(Path(scratch) / "slices", members, Path(scratch) / "served", config)
        write_report(Path(scratch) / "report", evaluation.findings, evaluation.images)
        seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = {"seconds": seconds, "network_seconds": evaluation.network_seconds, "peak_mib": peak_mib}
    print(json.dumps({"slices": slices, **cost}))


if __name__ == "__main__":
    main()
