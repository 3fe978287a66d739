"""`make demo`: send clean traffic, an artefact and an unseen species, and show the monitor's state after each phase."""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from components.phantoms.anatomy.forms import FORMS
from components.shared.errors import EXIT_FAILED, BadConfigError, DeployError, TaxonflowError, exit_code_of
from components.shared.model_repository import find_models, read_card, version_folder
from components.shared.subprocesses import HOST, background_process, free_port, terminated_at_exit
from monitoring.drift.results import WindowResult, read_result, window_name
from monitoring.drift.windows import Stream
from pipelines.local.demo_traffic import Phase, TrafficConfig, traffic
from pipelines.local.process import Processes, check_running, end_by_termination, scratch_folder
from pipelines.local.run import EVENTS, MODELS
from pipelines.presets import load_preset, preset_names
from serving.client import Client

ALERT = "TaxonflowDriftSustained"
READY_TIMEOUT_S, WINDOW_TIMEOUT_S, ALERT_TIMEOUT_S, RESPONSE_TIMEOUT_S = 600.0, 600.0, 120.0, 60.0
_POLL_S = 0.5
_MAX_FEATURES = 4


@dataclass(frozen=True)
class MonitorClient:
    """HTTP client of the monitor and of Prometheus.

    Attributes:
        monitor: URL of the monitor.
        prometheus: URL of Prometheus; empty if it is not installed.
    """

    monitor: str
    prometheus: str

    def windows(self, model: str) -> int:
        """Return the number of windows that the monitor has checked."""
        return int(self._gauge("taxonflow_drift_completed_windows", {"model": model}))

    def wait_for_windows(self, model: str, windows: int) -> None:
        """Wait until the monitor has checked a number of windows.

        Raises:
            DeployError: The monitor did not check them within WINDOW_TIMEOUT_S.
        """
        _wait_until(lambda: self.windows(model) >= windows, WINDOW_TIMEOUT_S, f"window {windows} was not checked")

    def drift_is_sustained(self, model: str) -> bool:
        """Return True if the monitor is in the state on which the alert fires."""
        return self._gauge("taxonflow_drift_state", {"model": model, "state": "sustained_drift"}) == 1

    def alert_is_firing(self) -> bool | None:
        """Return True if the alert fires in Prometheus; None without Prometheus."""
        if not self.prometheus:
            return None
        alerts = _get(f"{self.prometheus}/api/v1/alerts").json()["data"]["alerts"]
        return any(each["labels"]["alertname"] == ALERT and each["state"] == "firing" for each in alerts)

    def _gauge(self, name: str, labels: dict[str, str]) -> float:
        text = _get(f"{self.monitor}/metrics").text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return next((each.value for each in samples if each.name == name and each.labels == labels), 0.0)


def _get(url: str) -> httpx.Response:
    """Send a GET request with a long timeout, because the monitor may be busy.

    Raises:
        DeployError: There is no answer.
    """
    try:
        return httpx.get(url, timeout=RESPONSE_TIMEOUT_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        remedy = "See the logs in the demonstration's folder."
        raise DeployError(f"{url} does not answer ({error or type(error).__name__})", remedy=remedy) from error


@dataclass(frozen=True)
class PhaseResult:
    """State of monitor and alert at the end of a phase.

    Attributes:
        phase: Phase of the demonstration.
        drift_sustained: True if the monitor reports sustained drift.
        alert_firing: True if the alert fires; None without Prometheus.
    """

    phase: Phase
    drift_sustained: bool
    alert_firing: bool | None

    @property
    def as_expected(self) -> bool:
        """True if monitor and Prometheus are in the expected state of the phase."""
        return self.drift_sustained == self.phase.alert and self.alert_firing in (None, self.phase.alert)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Returns:
        0 if every phase ended as expected, 1 if not, 2 for bad input; 143 after SIGTERM.
    """
    options = parse_options(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, end_by_termination)
    try:
        model, version = find_or_train_model(options, console)
        species = read_card(version_folder(options.out / MODELS, model, version)).classes
        config = traffic_config(options, species)
        folder = options.out.resolve() / "demo" / time.strftime("%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        with scratch_folder(), ExitStack() as stack:
            client, monitor = start_server_and_monitor(options, folder, model, version, stack, console)
            results = list(run_phases(config, client, monitor, Stream(model, version), folder, console))
            _print_results(results, console)
            _wait_for_interrupt(options, console)
    except TaxonflowError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return EXIT_FAILED
    return 0 if all(result.as_expected for result in results) else EXIT_FAILED


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="folder with a model, or for a new one (default: %(default)s)"
    )
    parser.add_argument(
        "--preset",
        default="sample",
        help=f"preset of the model, one of {', '.join(preset_names())} (default: %(default)s)",
    )
    parser.add_argument("--window-slices", type=int, default=120, help="slices of a window (default: %(default)s)")
    parser.add_argument("--window-specimens", type=int, default=12, help="specimens of a window (default: %(default)s)")
    parser.add_argument("--phantom-size", type=int, help="edge of a volume in voxels (default: that of the preset)")
    parser.add_argument("--image-size", type=int, help="edge of a slice in pixels (default: that of the preset)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the specimens (default: %(default)s)")
    parser.add_argument(
        "--keep-running",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty(),
        help="keep the pages available at the end, until Ctrl-C (default: on a terminal)",
    )
    return parser.parse_args(arguments)


def find_or_train_model(options: argparse.Namespace, console: Console) -> tuple[str, int]:
    """Return name and version of the newest model in the repository; train one if there is none.

    Raises:
        BadConfigError: The model has a species that is not synthetic.
        DeployError: The training run did not deploy a model.
    """
    repository = options.out / MODELS
    if not find_models(repository):
        console.print(
            f"No model in {repository}: running the preset {options.preset} first.", highlight=False, markup=False
        )
        command = [sys.executable, "-m", "pipelines.run", f"--preset={options.preset}", f"--out={options.out}"]
        with terminated_at_exit(subprocess.Popen(command)) as process:
            process.wait()
    models = find_models(repository)
    if not models:
        raise DeployError(f"no model in {repository}", "a model of the run above", "Read the output of the run.")
    name, versions = next(iter(models.items()))
    other_species = set(read_card(version_folder(repository, name, versions[-1])).classes) - set(FORMS)
    if other_species:
        text = f"model {name} with the species {', '.join(sorted(other_species))}"
        raise BadConfigError(text, "a model of the synthetic species", "Set OUT to another folder.")
    return name, versions[-1]


def traffic_config(options: argparse.Namespace, species: tuple[str, ...]) -> TrafficConfig:
    """Return the traffic's configuration, with the preset's sizes.

    Raises:
        BadConfigError: The preset has no phantoms, or the windows cannot be filled evenly.
    """
    preset = load_preset(options.preset)
    if preset.phantoms is None:
        raise BadConfigError(f"preset {options.preset!r}", "a preset with synthetic specimens", "Set PRESET=sample.")
    slices, rest = divmod(options.window_slices, options.window_specimens)
    if rest or not slices:
        sizes = f"a multiple of {options.window_specimens} (--window-specimens)"
        remedy = f"Set --window-slices {max(1, slices) * options.window_specimens}."
        raise BadConfigError(f"--window-slices {options.window_slices}", sizes, remedy)
    return TrafficConfig(
        species=species,
        specimens=options.window_specimens,
        slices=slices,
        phantom_size=options.phantom_size or preset.phantoms.phantom_size,
        image_size=options.image_size or preset.parameters["image_size"],
        planes=preset.parameters["planes"],
        seed=options.seed,
    )


def start_server_and_monitor(
    options: argparse.Namespace, folder: Path, model: str, version: int, stack: ExitStack, console: Console
) -> tuple[Client, MonitorClient]:
    """Start the server and the monitor, which end with `stack`."""
    server_port, monitor_port = free_port(8080), free_port(9108)
    folders = ("--repository", str(options.out / MODELS), "--events", str(folder / EVENTS))
    server = ("serving", *folders, "--port", str(server_port), "--keep_slices", str(folder / "kept"))
    windows = ("--window-slices", str(options.window_slices), "--window-specimens", str(options.window_specimens))
    ports = ("--port", str(monitor_port), "--server-port", str(server_port))
    monitor = ("monitoring.local_stack", *folders, "--out", str(folder / "monitoring"), *ports, "--", *windows)
    processes = {
        folder / f"{name}.log": stack.enter_context(
            background_process([sys.executable, "-m", *command], folder / f"{name}.log")
        )
        for name, command in (("server", server), ("monitor", monitor))
    }
    client = stack.enter_context(Client(f"http://{HOST}:{server_port}"))
    console.print(f"Serving {model} version {version} at {client.url}", highlight=False)
    client.wait_until_ready(model, READY_TIMEOUT_S, version, partial(check_running, processes))
    url, log = f"http://{HOST}:{monitor_port}", folder / "monitor.log"
    _wait_until(lambda: _is_up(f"{url}/metrics", processes), READY_TIMEOUT_S, f"the monitor at {url} is not up")
    console.print(f"Page of the monitor: [bold]{url}/[/bold]  Other addresses: {log}", highlight=False)
    return client, MonitorClient(url, _prometheus(log, processes))


def _prometheus(log: Path, processes: Processes) -> str:
    """Return the URL of Prometheus that `monitoring.local_stack` printed, when it is ready; else an empty string."""
    match = re.search(r"Prometheus: (http://[^/\s]+)", log.read_text())
    if not match:
        return ""
    url = match[1]
    _wait_until(lambda: _is_up(f"{url}/-/ready", processes), READY_TIMEOUT_S, f"Prometheus at {url} is not up")
    return url


def _is_up(url: str, processes: Processes) -> bool:
    check_running(processes)
    try:
        return httpx.get(url, timeout=RESPONSE_TIMEOUT_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _wait_until(condition: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DeployError(f"{failure} within {seconds:.0f} s", remedy="See the logs in the demonstration's folder.")
        time.sleep(_POLL_S)


def run_phases(
    config: TrafficConfig,
    client: Client,
    monitor: MonitorClient,
    stream: Stream,
    folder: Path,
    console: Console,
) -> Iterator[PhaseResult]:
    """Send the traffic window by window; yield the result of each phase."""
    for window, (phase, number, specimens) in enumerate(traffic(config), start=1):
        if number == 1:
            console.rule(f"[bold]{phase.name}[/bold]: {phase.text}", align="left")
        for name, slices in specimens:
            client.predict(stream.model, slices, specimen=name)
        monitor.wait_for_windows(stream.model, window)
        result = read_result(folder / "monitoring", window_name(stream.model, stream.version, window))
        if result:
            console.print(_window_text(result), highlight=False)
        if number == phase.windows:
            yield _phase_result(phase, monitor, stream.model)


def _phase_result(phase: Phase, monitor: MonitorClient, model: str) -> PhaseResult:
    """Return the state of monitor and alert; wait up to ALERT_TIMEOUT_S until Prometheus agrees with the monitor."""
    state = monitor.drift_is_sustained(model)
    deadline = time.monotonic() + ALERT_TIMEOUT_S
    while monitor.alert_is_firing() not in (None, state) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return PhaseResult(phase, state, monitor.alert_is_firing())


def _window_text(result: WindowResult) -> str:
    names = ", ".join(each.feature for each in result.drifted[:_MAX_FEATURES])
    rest = len(result.drifted) - _MAX_FEATURES
    more = f" and {rest} more" if rest > 0 else ""
    verdict = f"[red]DRIFT[/red] in {names}{more}" if names else "[green]no drift[/green]"
    rates = f"confidence {result.confidence:.0%}, unknown {result.unknown_ratio:.0%}"
    return f"window {result.number}: {result.slices} slices of {result.specimens} specimens, {rates}: {verdict}"


def _print_results(results: Sequence[PhaseResult], console: Console) -> None:
    table = Table(title="Monitor and alert after each phase", title_justify="left")
    for column in ("traffic", "expected", "monitor", f"alert {ALERT}", "result"):
        table.add_column(column)
    alert_states = {None: "Prometheus is not installed", True: "firing", False: "silent"}
    for each in results:
        table.add_row(
            each.phase.name,
            "alert" if each.phase.alert else "no alert",
            "sustained drift" if each.drift_sustained else "no sustained drift",
            alert_states[each.alert_firing],
            "[green]as expected[/green]" if each.as_expected else "[red]NOT as expected[/red]",
        )
    console.print(table)


def _wait_for_interrupt(options: argparse.Namespace, console: Console) -> None:
    if not options.keep_running:
        return
    console.print("The pages remain available. Press Ctrl-C to stop the server and the monitor.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")


if __name__ == "__main__":
    sys.exit(main())
