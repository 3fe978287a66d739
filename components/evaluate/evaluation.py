"""The evaluation of trained backbones: select on validation, measure on test, apply the gate, export the model."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from components.evaluate.champion import measure_champion
from components.evaluate.config import EvaluationConfig
from components.evaluate.export.version import code_digest, write_version
from components.evaluate.gate import Evidence, apply_gate
from components.evaluate.measurement import ModelMeasurement, measure_on_test
from components.evaluate.model_selection import EvaluationSource, Selection, select_on_validation
from components.evaluate.predictions import load_member
from components.evaluate.report.findings import Findings, Provenance, collect_findings
from components.evaluate.report.images import ReportImages, render_images
from components.shared.contracts import ModelCard
from components.shared.errors import ContractError
from components.shared.files import atomic_folder
from components.shared.model_repository import artifact_folder
from components.shared.slices import read_info


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        card: Card of the served model, with the verdict of the gate.
        selection: Ensemble, open-set score and the rules that were compared on validation slices.
        measurement: Results on the test slices.
        findings: Contents of the report but for its images.
        images: Images of the report.
    """

    card: ModelCard
    selection: Selection
    measurement: ModelMeasurement
    findings: Findings
    images: ReportImages

    @property
    def network_seconds(self) -> float:
        """Time that the networks took, in seconds."""
        splits = self.selection.validation, self.measurement.test
        predictions = chain.from_iterable(split.predictions.values() for split in splits)
        return self.selection.seconds + sum(prediction.seconds for prediction in predictions)

    def numbers(self) -> dict[str, float]:
        """Return the numeric metrics of the ensemble, for the Kubeflow UI."""
        return {name: value for name, value in self.card.metrics if isinstance(value, float)}


def evaluate_models(slices: Path, models: Sequence[Path], folder: Path, config: EvaluationConfig) -> Evaluation:
    """Evaluate trained backbones and write the served model as version 1 of `folder`.

    Args:
        slices: Folder of a data set of segmented slices.
        models: Folders of trained backbones.
        folder: Folder of the served model, which must not exist.
        config: Parameters of the evaluation.

    Raises:
        BadConfigError: The key that signs the served model cannot be used.
        ContractError: A model does not fit the data set or has outputs that are not finite, or two models have the
            same backbone.
    """
    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(model, info) for model in models)}
    if len(members) < len(models) or not members:
        problem = f"{len(models)} models of {len(members)} backbones"
        raise ContractError(problem, "one model for each backbone", "Train each backbone once.")
    with tempfile.TemporaryDirectory() as scratch:
        return _evaluate(EvaluationSource(slices, info, members, Path(scratch)), folder, config)


def _evaluate(source: EvaluationSource, folder: Path, config: EvaluationConfig) -> Evaluation:
    selection = select_on_validation(source)
    measurement = measure_on_test(source, selection, config.gate.threshold, config.seed)
    verdict = apply_gate(_evidence(source, measurement, config), config.gate)
    with atomic_folder(folder) as partial_folder:
        card = write_version(artifact_folder(partial_folder), config.name, source, selection, measurement, verdict)
    findings = collect_findings(card, _provenance(source, config), measurement, selection.candidates)
    leader = source.members[selection.ensemble.rule.leader]
    images = render_images(source.folder, leader, findings.mistakes, findings.pairs)
    return Evaluation(card, selection, measurement, findings, images)


def _provenance(source: EvaluationSource, config: EvaluationConfig) -> Provenance:
    return Provenance(
        info=source.info,
        members=tuple(member.card for member in source.members.values()),
        digests={name: member.digest for name, member in source.members.items()},
        code=code_digest(),
        seed=config.seed,
        material=config.material,
    )


def _evidence(source: EvaluationSource, measurement: ModelMeasurement, config: EvaluationConfig) -> Evidence:
    classes, test, champion = source.info.classes, measurement.test.slices, config.gate.champion
    correct, score = measurement.scores.argmax(axis=1) == test.labels, measurement.score
    return Evidence(
        species=classes,
        accuracy=score.accuracy,
        lower_bound=score.accuracy_interval[0],
        recall={name: math.nan if row.recall is None else row.recall for name, row in score.species.items()},
        test_specimens={name: row.specimens for name, row in score.species.items()},
        rare_species={name: count for name, count in source.info.rare_species.items() if name in classes},
        champion=measure_champion(champion, source.folder, classes, test, correct, config.seed) if champion else None,
    )
