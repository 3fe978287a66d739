"""The KFP components of the recurring drift check."""

from kfp import dsl

from components.shared.container_images import MONITORING_IMAGE


@dsl.component(base_image=MONITORING_IMAGE, install_kfp_package=False)
def check_drift(
    events: str,
    models: str,
    name: str,
    windows: int,
    window_slices: int,
    window_specimens: int,
    sustained_windows: int,
    seed: int,
    drifted: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> bool:
    """Check the latest windows of the stored drift events.

    Args:
        events: Folder of the drift events.
        models: Model repository with the model cards and reference profiles.
        name: Name of the model.
        windows: Number of latest windows to evaluate.
        window_slices: Smallest number of slices in a window.
        window_specimens: Smallest number of specimens in a window.
        sustained_windows: Number of consecutive drifted windows that count as sustained drift.
        seed: Seed of the threshold calibration.
        drifted: Results of the windows, and the events of the drifted ones.
        report: Evidently's report of the latest window.
        metrics: Score of each feature in the latest window, divided by its threshold.

    Returns:
        Whether drift is sustained. The output has no name, because kfp.local finds no named output in a condition.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from components.shared.progress import log
    from monitoring.recurring.check import check, check_config, latest_report, scores, write_check

    with exit_on_error("check_drift"):
        sizes = {"window_slices": window_slices, "window_specimens": window_specimens}
        config = check_config(events=events, repository=models, sustained_windows=sustained_windows, seed=seed, **sizes)
        result = check(name, windows, config)
        write_check(result, Path(drifted.path))
        Path(report.path).write_text(latest_report(result), encoding="utf-8")
        drifted.metadata.update(version=result.version, state=result.state)
        for key, value in scores(result).items():
            metrics.log_metric(key, value)
    log("check_drift", f"{name} version {result.version}: {result.state}")
    return result.state == "sustained_drift"


@dsl.component(base_image=MONITORING_IMAGE, install_kfp_package=False)
def collect_for_labelling(
    drifted: dsl.Input[dsl.Dataset],
    kept_slices: str,
    name: str,
    most_slices: int,
    most_of_specimen: int,
    retrain: bool,
    to_label: dsl.Output[dsl.Dataset],
    proposal: dsl.Output[dsl.Markdown],
) -> int:
    """Collect drifted slices for labelling, least certain first, and propose the next steps.

    Args:
        drifted: Output of check_drift.
        kept_slices: Folder in which the server stores slices; it need not exist.
        name: Name of the model.
        most_slices: Largest number of slices to collect.
        most_of_specimen: Largest number of slices of one specimen.
        retrain: Whether a training follows in this run.
        to_label: Table to_label.csv, and the slices whose images are stored.
        proposal: Summary of the slices and the next steps.

    Returns:
        Number of collected slices.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from monitoring.recurring.check import read_drifted
    from monitoring.recurring.labelling_queue import collect

    with exit_on_error("collect_for_labelling"):
        events = read_drifted(Path(drifted.path))
        queue = collect(events, Path(kept_slices), Path(to_label.path), most_slices, most_of_specimen)
        Path(proposal.path).write_text(queue.proposal(name, retrain), encoding="utf-8")
    return len(queue.events)


@dsl.component(base_image=MONITORING_IMAGE, install_kfp_package=False)
def outcome(
    check: dsl.Input[dsl.Dataset],
    name: str,
    retrain: bool,
    metrics: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Summarize the check: the state of the drift and what follows.

    Args:
        check: Output of check_drift.
        name: Name of the model.
        retrain: Whether a training follows sustained drift.
        metrics: Checked version, and whether drift is sustained.
        summary: The outcome in a table.
    """
    from pathlib import Path

    from components.shared.progress import log
    from monitoring.recurring.outcome import drift_sentence, drift_summary

    state, version = str(check.metadata["state"]), int(check.metadata["version"])
    metrics.log_metric("checked_version", version)
    metrics.log_metric("drift_sustained", float(state == "sustained_drift"))
    Path(summary.path).write_text(drift_summary(name, version, state, retrain), encoding="utf-8")
    log("outcome", drift_sentence(state, retrain))
