"""One-sentence descriptions of windows and models."""

from monitoring.config import MonitorConfig
from monitoring.drift.results import FeatureDrift, WindowResult
from monitoring.drift.status import DRIFT, NO_DRIFT, SUSTAINED_DRIFT, ModelStatus, MonitorStatus

_MAX_FEATURES = 4
_VERDICTS = {NO_DRIFT: "no drift", DRIFT: "DRIFT", SUSTAINED_DRIFT: "SUSTAINED DRIFT"}


def describe_window(result: WindowResult) -> str:
    """Return the verdict on a window, with the features that drifted or came closest."""
    head = (
        f"window {result.number} of {result.model} v{result.version}, "
        f"{result.slices} slices of {result.specimens} specimens: "
    )
    features = result.drifted
    if not features:
        closest = max(result.features, key=lambda feature: feature.ratio)
        return f"{head}no drift; closest to its threshold: {_describe(closest)}"
    names = ", ".join(_describe(feature) for feature in features[:_MAX_FEATURES])
    more = f" and {len(features) - _MAX_FEATURES} more" if len(features) > _MAX_FEATURES else ""
    return f"{head}DRIFT in {len(features)} of {len(result.features)} features: {names}{more}"


def describe_model(status: ModelStatus, config: MonitorConfig) -> str:
    """Return the state of a model and the progress of its next window."""
    head = f"{status.model} v{status.version}: "
    progress = (
        f"{status.pending_slices} of {config.window_slices} slices and "
        f"{status.pending_specimens} of {config.window_specimens} specimens"
    )
    if not status.result:
        remedy = "Send more slices to the server, each with its specimen id"
        return f"{head}insufficient data, {progress} received. {remedy}"
    consecutive = f" ({status.consecutive_drifted} consecutive windows)" if status.consecutive_drifted > 1 else ""
    windows = pluralize(status.windows, "window")
    return f"{head}{_VERDICTS[status.state]}{consecutive} after {windows}; next window: {progress}"


def describe_waiting(status: MonitorStatus) -> str:
    """Return why nothing is monitored, and what ends the wait; empty if a model is monitored."""
    if not status.waiting_reason:
        return ""
    reason = status.waiting_reason.rstrip(".")
    return f"waiting for a served model: {reason}. The monitor starts when one is deployed; events are kept until then"


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 window` and `2 windows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _describe(feature: FeatureDrift) -> str:
    return f"{feature.feature} {feature.score:.2f} (threshold {feature.threshold:.2f})"
