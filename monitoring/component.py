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
    """Judges the latest windows of the stored traffic as the monitor does.

    Args:
        events: Folder of the drift events.
        models: Model repository with the cards and reference profiles.
        name: Name of the model.
        windows: How many of the latest windows are judged.
        window_slices: Fewest slices of a window.
        window_specimens: Fewest specimens of a window.
        sustained_windows: Drift in this many windows in a row is sustained.
        seed: Seed of the thresholds' calibration.
        drifted: The results of the windows, and the events of those that drifted.
        report: Evidently's report of the latest window.
        metrics: How far each feature of the latest window is from its threshold.

    Returns:
        Whether drift is sustained. One value without a name, since kfp.local finds no other in a condition.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from monitoring.recurring.checking import check, latest_report, scores, write_check

    with exit_on_error("check_drift"):
        found = check(events, models, name, windows, window_slices, window_specimens, sustained_windows, seed)
        write_check(found, Path(drifted.path))
        Path(report.path).write_text(latest_report(found), encoding="utf-8")
        drifted.metadata.update(version=found.version, state=found.state)
        for key, value in scores(found).items():
            metrics.log_metric(key, value)
    print(f"[check_drift] {name} version {found.version}: {found.state}", flush=True)  # noqa: T201 the task's log
    return found.state == "sustained_drift"


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
    """Collects the drifted slices of which the model knows least, and says what to do with them.

    Args:
        drifted: From check_drift.
        kept_slices: Folder that the server keeps answered slices in; it need not exist.
        name: Name of the model.
        most_slices: Most slices to collect.
        most_of_specimen: Most slices of one specimen.
        retrain: Whether a training follows in this run.
        to_label: to_label.csv, and the slices as images where they were kept.
        proposal: What was found and what to do.

    Returns:
        How many slices were collected.
    """
    from pathlib import Path

    from components.shared.errors import exit_on_error
    from monitoring.recurring.checking import read_drifted
    from monitoring.recurring.labelling_queue import collect

    with exit_on_error("collect_for_labelling"):
        events = read_drifted(Path(drifted.path))
        found = collect(events, Path(kept_slices), Path(to_label.path), most_slices, most_of_specimen)
        Path(proposal.path).write_text(found.proposal(name, retrain), encoding="utf-8")
    return len(found.events)
