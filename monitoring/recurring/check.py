"""The recurring check: the monitor's drift check on the latest windows of the stored events, without state."""

import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from components.shared.config import checked
from components.shared.contracts import DriftEvent
from components.shared.errors import BadConfigError, BadInputError
from components.shared.files import write_atomically
from components.shared.model_repository import find_models, require_models
from components.shared.pages import page, paragraph
from monitoring.config import MonitorConfig
from monitoring.drift.detector import WindowVerdict, evaluate_window
from monitoring.drift.event_log import EventLog
from monitoring.drift.model_ids import ModelIds
from monitoring.drift.reference import load_profile
from monitoring.drift.results import result_path
from monitoring.drift.sentences import pluralize
from monitoring.drift.status import state_of
from monitoring.drift.windows import PendingWindow, Stream, Window
from monitoring.service.model_mirror import ModelMirror, is_address

DRIFTED_EVENTS = "events-drifted.jsonl"
MAX_WINDOWS = 100


@dataclass
class _Traffic:
    """The latest complete windows of one version, and its incomplete one."""

    pending_window: PendingWindow
    windows: deque[Window] = field(default_factory=deque)


@dataclass(frozen=True)
class CheckResult:
    """The result of a check on the version of the latest prediction.

    Attributes:
        version: Version of the model.
        state: One of `monitoring.drift.status.STATES`.
        consecutive_drifted: Number of consecutive drifted windows, including the latest.
        windows: Latest windows, oldest first.
        verdicts: Verdicts on these windows.
        pending_slices: Number of slices in the incomplete window.
    """

    version: int
    state: str
    consecutive_drifted: int
    windows: tuple[Window, ...]
    verdicts: tuple[WindowVerdict, ...]
    pending_slices: int

    @property
    def drifted_events(self) -> tuple[DriftEvent, ...]:
        """All events of the consecutive drifted windows."""
        latest = self.windows[len(self.windows) - self.consecutive_drifted :]
        return tuple(event for window in latest for event in window.events)


def check_config(**parameters: object) -> MonitorConfig:
    """Return the monitor configuration of a check from pipeline parameters, named as in MonitorConfig.

    The newest versions of a repository in an object store are copied into a temporary folder.

    Raises:
        BadConfigError: A parameter has an invalid value.
        BadInputError: The object store has no model.
        ContractError: The object store cannot be read.
    """
    repository = str(parameters.get("repository", ""))
    if is_address(repository):
        copies = Path(tempfile.mkdtemp(prefix="taxonflow-models-"))
        ModelMirror(repository, copies).refresh()
        if not find_models(copies):
            raise BadInputError(
                f"{repository} contains no served model", "<model>/<version>/model.json", "Deploy a model first."
            )
        parameters = {**parameters, "repository": copies, "repository_url": repository}
    return checked(MonitorConfig, {**parameters, "out": tempfile.gettempdir()}, "parameter")


def check(name: str, windows: int, config: MonitorConfig) -> CheckResult:
    """Check the latest windows of the stored events.

    Args:
        name: Name of the model.
        windows: Number of latest windows to evaluate.
        config: Configuration of the monitor; nothing is written to `config.out`.

    Raises:
        BadConfigError: The number of windows is out of range.
        BadInputError: The repository has no such model.
        ContractError: The reference profile of the version of the latest prediction cannot be read.
    """
    if not config.sustained_windows <= windows <= MAX_WINDOWS:
        raise BadConfigError(
            f"windows {windows} and sustained_windows {config.sustained_windows}",
            f"1 <= sustained_windows <= windows <= {MAX_WINDOWS}",
            "Change one of the two parameters.",
        )
    versions = require_models(config.repository).get(name)
    if not versions:
        raise BadInputError(f"{config.repository} has no model {name!r}", "the name of a served model")
    by_version, latest = _read_traffic(config, name, windows)
    version = latest if latest is not None else versions[-1]
    traffic = by_version.get(version, _Traffic(PendingWindow(Stream(name, version))))
    verdicts = _evaluate(traffic.windows, config)
    consecutive = _consecutive_drifted(verdicts)
    state = state_of(len(verdicts), consecutive, config.sustained_windows)
    return CheckResult(version, state, consecutive, tuple(traffic.windows), verdicts, traffic.pending_window.slices)


def write_check(result: CheckResult, folder: Path) -> None:
    """Write the result of each window, and the events of the consecutive drifted windows."""
    folder.mkdir(parents=True, exist_ok=True)
    for verdict in result.verdicts:
        verdict.result.write(result_path(folder, verdict.result.name))
    lines = "".join(f"{event.to_line()}\n" for event in result.drifted_events)
    write_atomically(folder / DRIFTED_EVENTS, lines.encode())


def read_drifted(folder: Path) -> list[DriftEvent]:
    """Return the events that `write_check` wrote."""
    return [entry.event for entry in EventLog(folder, {}, {}).read()]


def latest_report(result: CheckResult) -> str:
    """Return Evidently's report of the latest window as HTML, or a page that reports insufficient data."""
    if result.verdicts:
        return str(result.verdicts[-1].snapshot.get_html_str(as_iframe=False))
    sentence = (
        f"The latest version has {pluralize(result.pending_slices, 'stored slice')}, which do not complete a window."
    )
    return page("Insufficient data", [paragraph(sentence)])


def scores(result: CheckResult) -> dict[str, float]:
    """Return each feature's score divided by its threshold in the latest window, and the numbers of windows."""
    latest = result.verdicts[-1].result.features if result.verdicts else ()
    ratios = {each.feature: each.ratio for each in latest}
    counts = {"windows": len(result.verdicts), "consecutive_drifted_windows": result.consecutive_drifted}
    return {**ratios, **{name: float(count) for name, count in counts.items()}}


def _read_traffic(config: MonitorConfig, model: str, max_windows: int) -> tuple[dict[int, _Traffic], int | None]:
    """Return the traffic by version, and the version of the latest prediction, or None if there is no event."""
    by_version: dict[int, _Traffic] = {}
    latest = (0.0, -1)
    model_ids = ModelIds(config.repository)
    for entry in EventLog(config.events, {}, {}).read():
        event = entry.event
        if event.model != model:
            continue
        version = model_ids.version_of(event)
        latest = max(latest, (event.time, version))
        traffic = by_version.setdefault(
            version, _Traffic(PendingWindow(Stream(model, version)), deque(maxlen=max_windows))
        )
        if window := traffic.pending_window.add(entry, config):
            traffic.windows.append(window)
    return by_version, latest[1] if by_version else None


def _evaluate(windows: Sequence[Window], config: MonitorConfig) -> tuple[WindowVerdict, ...]:
    if not windows:
        return ()
    stream = windows[0].stream
    profile = load_profile(config.repository, stream.model, stream.version, config.max_reference_slices)
    return tuple(evaluate_window(window, profile, config) for window in windows)


def _consecutive_drifted(verdicts: Sequence[WindowVerdict]) -> int:
    return len(list(takewhile(lambda each: each.result.drifted, reversed(verdicts))))
