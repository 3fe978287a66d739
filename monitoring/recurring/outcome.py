"""The outcome of a recurring drift check for the first layer of its run in the Kubeflow UI."""

_SENTENCES = {
    "sustained_drift": "Drift is sustained. Slices to label are in the output of collect-for-labelling.",
    "drift": "The latest window has drifted, but drift is not sustained.",
    "no_drift": "No drift.",
    "insufficient_data": "The stored traffic does not complete a window.",
}
_RETRAINING = (
    " This run trains a new model: the task outcome inside taxonflow-training states whether it is served, and the run "
    "fails if it is not."
)


def drift_sentence(state: str, retrain: bool) -> str:
    """Return the outcome of a check and of what follows it.

    Args:
        state: One of `monitoring.drift.status.STATES`.
        retrain: Whether a training follows sustained drift.
    """
    follows = _RETRAINING if retrain and state == "sustained_drift" else ""
    return _SENTENCES.get(state, state) + follows


def drift_summary(name: str, version: int, state: str, retrain: bool) -> str:
    """Return the outcome in Markdown.

    Args:
        name: Name of the model.
        version: Version whose traffic was checked.
        state: One of `monitoring.drift.status.STATES`.
        retrain: Whether a training follows sustained drift.
    """
    rows = [f"| checked version | {version} |", f"| state | {state.replace('_', ' ')} |"]
    return "\n".join([f"# {name}: {drift_sentence(state, retrain)}", "", "| | |", "|---|---|", *rows, ""])
