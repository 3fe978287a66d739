"""Windows and models in a sentence each."""

from monitoring.config import MonitorConfig
from monitoring.drift.results import FeatureDrift, WindowResult
from monitoring.drift.status import DRIFT, NO_DRIFT, SUSTAINED, ModelStatus

_MOST_FEATURES = 4
_VERDICTS = {NO_DRIFT: "no drift", DRIFT: "DRIFT", SUSTAINED: "SUSTAINED DRIFT"}


def describe_window(result: WindowResult) -> str:
    """Says what was found in a window."""
    head = (
        f"window {result.number} of {result.model} v{result.version}, "
        f"{result.slices} slices of {result.specimens} specimens: "
    )
    drifted = result.drifted
    if not drifted:
        nearest = max(result.features, key=lambda feature: feature.ratio)
        return f"{head}no drift; nearest to its threshold: {_feature(nearest)}"
    named = ", ".join(_feature(feature) for feature in drifted[:_MOST_FEATURES])
    more = f" and {len(drifted) - _MOST_FEATURES} more" if len(drifted) > _MOST_FEATURES else ""
    return f"{head}DRIFT in {len(drifted)} of {len(result.features)} features: {named}{more}"


def describe_model(status: ModelStatus, config: MonitorConfig) -> str:
    """Says how a model stands: its verdict and the way to the next window, or that there is too little data yet."""
    head = f"{status.model} v{status.version}: "
    so_far = (
        f"{status.pending_slices} of {config.window_slices} slices and "
        f"{status.pending_specimens} of {config.window_specimens} specimens"
    )
    if not status.result:
        remedy = "Send more slices to the server, each with the id of its specimen"
        return f"{head}too little data to judge, {so_far} so far. {remedy}"
    row = f" ({status.drifted_in_a_row} windows in a row)" if status.drifted_in_a_row > 1 else ""
    return f"{head}{_VERDICTS[status.state]}{row} after {counted(status.windows, 'window')}; {so_far} for the next"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, such as `1 window` and `2 windows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _feature(feature: FeatureDrift) -> str:
    return f"{feature.feature} {feature.score:.2f} (threshold {feature.threshold:.2f})"
