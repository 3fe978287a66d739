"""The evaluation of trained backbones: select on validation, measure on test, apply the gate, export the model.

With folds the measured answers are those of the folds' models for every specimen; the served model is selected on the
validation split in any case.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from components.evaluate.answers import HeldOut, MeasuredAnswers, answers_of_test_split, predict_held_out
from components.evaluate.champion import measure_champion
from components.evaluate.config import EvaluationConfig
from components.evaluate.export.version import code_digest, write_version
from components.evaluate.folds import cross_validate
from components.evaluate.gate import Evidence, apply_gate
from components.evaluate.measurement import ModelMeasurement, measure, measure_open_set
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
        held_out: Slices that the served model was not trained on, with its predictions.
        measurement: Results on the test slices.
        findings: Contents of the report but for its images.
        images: Images of the report.
    """

    card: ModelCard
    selection: Selection
    held_out: HeldOut
    measurement: ModelMeasurement
    findings: Findings
    images: ReportImages

    @property
    def network_seconds(self) -> float:
        """Time that the networks took, in seconds."""
        splits = {id(split): split for split in (self.selection.validation, self.held_out.outputs)}
        predictions = chain.from_iterable(split.predictions.values() for split in splits.values())
        return self.selection.seconds + sum(prediction.seconds for prediction in predictions)

    def numbers(self) -> dict[str, float]:
        """Return the numeric metrics of the ensemble, for the Kubeflow UI."""
        return self.card.metrics.numbers()


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
    held_out = predict_held_out(source, selection)
    measurement = measure(
        _answers(source, selection, held_out),
        source.info.classes,
        measure_open_set(source, selection, held_out),
        config.gate.threshold,
        config.seed,
        validation_specimens=len(np.unique(selection.validation.slices.specimens)),
    )
    verdict = apply_gate(_evidence(source, held_out, measurement, config), config.gate)
    with atomic_folder(folder) as partial_folder:
        card = write_version(
            artifact_folder(partial_folder), config.name, source, selection, held_out, measurement, verdict
        )
    findings = collect_findings(card, _provenance(source, config), measurement, selection.candidates)
    leader = source.members[selection.ensemble.rule.leader]
    images = render_images(source.folder, measurement.answers, leader, findings.mistakes, findings.pairs)
    return Evaluation(card, selection, held_out, measurement, findings, images)


def _answers(source: EvaluationSource, selection: Selection, held_out: HeldOut) -> MeasuredAnswers:
    if source.info.folds:
        return cross_validate(source, held_out, selection.ensemble)
    return answers_of_test_split(held_out, selection.ensemble)


def _provenance(source: EvaluationSource, config: EvaluationConfig) -> Provenance:
    return Provenance(
        info=source.info,
        members=tuple(member.card for member in source.members.values()),
        digests={name: member.digest for name, member in source.members.items()},
        code=code_digest(),
        seed=config.seed,
        material=config.material,
    )


def _evidence(
    source: EvaluationSource, held_out: HeldOut, measurement: ModelMeasurement, config: EvaluationConfig
) -> Evidence:
    classes, champion, score = source.info.classes, config.gate.champion, measurement.score
    low, high = score.accuracy_interval
    return Evidence(
        species=classes,
        accuracy=score.accuracy,
        lower_bound=low,
        upper_bound=high,
        recall={name: math.nan if row.recall is None else row.recall for name, row in score.species.items()},
        test_specimens={name: row.specimens for name, row in score.species.items()},
        rare_species={name: count for name, count in source.info.rare_species.items() if name in classes},
        champion=measure_champion(champion, source.folder, classes, held_out, config.seed) if champion else None,
        origin=score.folds.describe(score.specimens) if score.folds else "",
    )
