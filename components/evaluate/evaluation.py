"""Evaluates trained backbones: chooses on validation, measures on test, judges, and leaves the served model."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from components.evaluate.assessment import specimens_of
from components.evaluate.champion import ask_champion
from components.evaluate.config import EvaluationConfig
from components.evaluate.export.provenance import code_digest
from components.evaluate.export.version import write_version
from components.evaluate.gate import Evidence, judge
from components.evaluate.measurement import Measured, measure_on_test
from components.evaluate.model_selection import Choice, Source, choose_on_validation
from components.evaluate.predictions import load_member
from components.evaluate.report.findings import Findings, Provenance, collect_findings
from components.evaluate.report.images import Pictures, take_pictures
from components.evaluate.report.unknown_curve import unknown_curve
from components.shared.contracts import ModelCard
from components.shared.errors import ContractError
from components.shared.files import atomic_folder
from components.shared.model_repository import artifact_folder
from components.shared.slices import read_info


@dataclass(frozen=True)
class Evaluation:
    """The verdict and all that it rests on.

    Attributes:
        card: of the served model.
        choice: the ensemble and the other rules that were tried on validation.
        measured: what the test slices say.
        findings: what the report tells.
        pictures: what the report shows.
    """

    card: ModelCard
    choice: Choice
    measured: Measured
    findings: Findings
    pictures: Pictures

    @property
    def network_seconds(self) -> float:
        """Seconds that the networks worked."""
        said = chain(self.choice.validation.predictions.values(), self.measured.test.predictions.values())
        return self.choice.seconds + sum(prediction.seconds for prediction in said)

    def numbers(self) -> dict[str, float]:
        """Returns those metrics of the ensemble that are numbers, which is what the Kubeflow UI shows."""
        return {name: value for name, value in self.card.metrics.items() if isinstance(value, float)}


def evaluate_models(slices: Path, models: Sequence[Path], folder: Path, config: EvaluationConfig) -> Evaluation:
    """Evaluates trained backbones and writes the served model as version 1 of `folder`.

    Args:
        slices: a data set of segmented slices.
        models: folders of trained backbones.
        folder: becomes the artifact.
        config: what decides besides.

    Raises:
        BadConfigError: the key to sign the served model with cannot be used.
        ContractError: a model does not fit the data set or answers nonsense, or two have the same backbone.
    """
    info = read_info(slices)
    members = {member.card.backbone: member for member in (load_member(model, info) for model in models)}
    if len(members) < len(models) or not members:
        raise ContractError(f"{len(models)} models of {len(members)} backbones", "one model for each backbone")
    with tempfile.TemporaryDirectory() as scratch:
        return _evaluate(Source(slices, info, members, Path(scratch)), folder, config)


def _evaluate(source: Source, folder: Path, config: EvaluationConfig) -> Evaluation:
    choice = choose_on_validation(source)
    measured = measure_on_test(source, choice, config.gate.threshold, config.seed)
    verdict = judge(_evidence(source, measured, config), config.gate)
    with atomic_folder(folder) as unfinished:
        card = write_version(artifact_folder(unfinished), config.name, source, choice, measured, verdict)
    findings = _findings(source, choice, measured, card, config)
    leader = source.members[choice.ensemble.rule.leader]
    pictures = take_pictures(source.folder, leader, findings.mistakes, findings.pairs)
    return Evaluation(card, choice, measured, findings, pictures)


def _findings(
    source: Source, choice: Choice, measured: Measured, card: ModelCard, config: EvaluationConfig
) -> Findings:
    unknown = measured.unknown
    return collect_findings(
        card,
        _provenance(source, config),
        measured.test,
        measured.scores,
        unknown_curve(unknown.known, unknown.unseen, unknown.threshold) if len(unknown.unseen) else None,
        measured.comparisons,
        choice.candidates,
    )


def _provenance(source: Source, config: EvaluationConfig) -> Provenance:
    return Provenance(
        info=source.info,
        members=tuple(member.card for member in source.members.values()),
        digests={name: member.digest for name, member in source.members.items()},
        code=code_digest(),
        seed=config.seed,
        material=config.material,
    )


def _evidence(source: Source, measured: Measured, config: EvaluationConfig) -> Evidence:
    classes, test, champion = source.info.classes, measured.test.slices, config.gate.champion
    right = measured.scores.argmax(axis=1) == test.labels
    return Evidence(
        species=classes,
        accuracy=measured.metrics["accuracy"],
        lower_bound=measured.metrics["accuracy_interval"][0],
        recall=measured.recall,
        test_specimens=specimens_of(test, classes),
        champion=ask_champion(champion, source.folder, classes, test, right, config.seed) if champion else None,
    )
