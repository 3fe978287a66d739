"""The KFP component of the evaluation step."""

from typing import Any, NamedTuple

from kfp import dsl

from components.shared.container_images import COMPONENT_IMAGE


@dsl.component(base_image=COMPONENT_IMAGE, install_kfp_package=False)
def evaluate(
    slices: dsl.Input[dsl.Dataset],
    models: dsl.Input[list[dsl.Model]],
    name: str,
    threshold: float,
    gate: dict[str, Any],
    seed: int,
    material: str,
    served: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    findings: dsl.Output[dsl.Artifact],
    large_models: dsl.Input[list[dsl.Model]] = None,
) -> NamedTuple(  # type: ignore[valid-type]
    "Verdict", [("passed", bool), ("reasons", str), ("accuracy", float), ("interval", str), ("model_id", str)]
):
    """Select an ensemble on validation, measure it on test, apply the gate and export one SavedModel.

    Args:
        slices: Segmented slices.
        models: Trained backbones.
        name: Name of the served model.
        threshold: Slice accuracy that the gate requires.
        gate: Further conditions of the gate. Keys as in components/evaluate/gate.py.
        seed: Seed of the permutations of the paired tests.
        material: Name of the specimens in the report, such as "synthetic specimens".
        served: The served model as version 1 of a TensorFlow Serving folder.
        metrics: Metrics of the ensemble on the test specimens, with the ends of the intervals of accuracy and macro F1.
        confusion: Confusion matrix of the ensemble on the test slices.
        report: The evaluation's report.
        findings: The report as a folder, with Markdown, JSON and a CSV file for each table.
        large_models: More trained backbones, of the second loop of large_training.

    Returns:
        Whether the gate passed, its reasons, the slice accuracy, its 95 % interval as text and the id of the model.
    """
    from pathlib import Path

    from components.evaluate.config import EvaluationConfig
    from components.evaluate.evaluation import evaluate_models
    from components.evaluate.report.writer import write_report
    from components.shared.errors import exit_on_error
    from components.shared.files import write_atomically

    with exit_on_error("evaluate"):
        config = EvaluationConfig.parse(threshold, gate, name=name, seed=seed, material=material)
        folders = [Path(model.path) for model in [*models, *(large_models or [])]]
        evaluation = evaluate_models(Path(slices.path), folders, Path(served.path), config)
        page = write_report(Path(findings.path), evaluation.findings, evaluation.images)
        write_atomically(Path(report.path), page.encode())
        for key, value in evaluation.numbers().items():
            metrics.log_metric(key, value)
        confusion.log_confusion_matrix(list(evaluation.card.classes), evaluation.measurement.confusion.tolist())
        verdict = evaluation.card.gate
        low, high = evaluation.card.metrics.accuracy_interval
        interval, reasons = f"{low:.1%} to {high:.1%}", " ".join(verdict.reasons)
        return verdict.passed, reasons, verdict.accuracy, interval, evaluation.card.model_id
