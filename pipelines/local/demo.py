"""`make demo`: clean traffic, then an artefact, then an unseen species, and what the watch says of each."""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from components.phantoms.anatomy.forms import FORMS
from components.shared.contracts import ModelCard
from components.shared.errors import EXIT_FAILED, BadConfigError, DeployError, TaxonflowError, exit_code_of
from components.shared.subprocesses import HOST, background_process, free_port
from monitoring.drift.reference import find_models
from monitoring.drift.results import WindowResult, read_result, window_name
from pipelines.local.demo_traffic import Act, TrafficConfig, traffic
from pipelines.local.process import interrupt
from pipelines.local.run import EVENTS, MODELS
from pipelines.presets import load_preset, preset_names
from serving.client import Client

ALERT = "TaxonflowDriftSustained"
READY_S, WINDOW_S, ALERT_S, ANSWER_S = 600.0, 600.0, 120.0, 60.0
_PAUSE_S = 0.5
_MOST_FEATURES = 4


@dataclass(frozen=True)
class Watch:
    """The running watch, asked over HTTP.

    Attributes:
        monitor: address of the monitor.
        prometheus: address of Prometheus, or nothing where it is not installed.
    """

    monitor: str
    prometheus: str

    def windows(self, model: str) -> int:
        """Returns how many windows the monitor has judged."""
        return int(self._gauge("taxonflow_drift_windows", {"model": model}))

    def wait_until_judged(self, model: str, windows: int) -> None:
        """Waits until the monitor has judged so many windows.

        Raises:
            DeployError: it has not in time.
        """
        _wait_until(lambda: self.windows(model) >= windows, WINDOW_S, f"window {windows} was not judged")

    def sustained(self, model: str) -> bool:
        """Whether the monitor is in the state on which the alert fires."""
        return self._gauge("taxonflow_drift_state", {"model": model, "state": "sustained_drift"}) == 1

    def firing(self) -> bool | None:
        """Whether the alert fires in Prometheus; None without Prometheus."""
        if not self.prometheus:
            return None
        alerts = _get(f"{self.prometheus}/api/v1/alerts").json()["data"]["alerts"]
        return any(each["labels"]["alertname"] == ALERT and each["state"] == "firing" for each in alerts)

    def _gauge(self, name: str, labels: dict[str, str]) -> float:
        text = _get(f"{self.monitor}/metrics").text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return next((each.value for each in samples if each.name == name and each.labels == labels), 0.0)


def _get(url: str) -> httpx.Response:
    """Asks patiently: beside a busy monitor an answer may take its time.

    Raises:
        DeployError: there is no answer.
    """
    try:
        return httpx.get(url, timeout=ANSWER_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise DeployError(f"{url} does not answer ({error or type(error).__name__})", remedy="See the logs.") from error


@dataclass(frozen=True)
class Verdict:
    """How an act ended."""

    act: Act
    sustained: bool
    firing: bool | None

    @property
    def as_expected(self) -> bool:
        """Whether monitor and Prometheus say what the act should lead to."""
        return self.sustained == self.act.alert and self.firing in (None, self.act.alert)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration.

    Returns:
        0 where the alert fired on the acts on which it should and on no other; 1 where not; 2 for bad input.
    """
    parsed = _parse(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        model, version = _served_model(parsed, console)
        species = ModelCard.read(parsed.out / MODELS / model / str(version) / "model.json").classes
        config = _traffic_config(parsed, species)
        folder = parsed.out.resolve() / "demo" / time.strftime("%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        with ExitStack() as running:
            client, watch = _start(parsed, folder, model, version, running, console)
            verdicts = list(_play(config, client, watch, (model, version), folder, console))
            _show(verdicts, console)
            _stay(parsed, console)
    except TaxonflowError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return EXIT_FAILED
    return 0 if all(verdict.as_expected for verdict in verdicts) else EXIT_FAILED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder with the model, or for it (%(default)s)")
    parser.add_argument(
        "--preset", default="sample", help=f"that the model was made with; of {', '.join(preset_names())}"
    )
    parser.add_argument("--window-slices", type=int, default=120, help="slices of a window (%(default)s)")
    parser.add_argument("--window-specimens", type=int, default=12, help="specimens of a window (%(default)s)")
    parser.add_argument("--phantom-size", type=int, help="edge of a volume in voxels instead of the preset's")
    parser.add_argument("--image-size", type=int, help="edge of a slice in pixels instead of the preset's")
    parser.add_argument("--seed", type=int, default=0, help="of the specimens (%(default)s)")
    parser.add_argument(
        "--stay",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty(),
        help="keep the pages up at the end, until Ctrl-C",
    )
    return parser.parse_args(arguments)


def _served_model(parsed: argparse.Namespace, console: Console) -> tuple[str, int]:
    """Returns the newest model of the repository; makes one where there is none.

    Raises:
        BadConfigError: the model knows other species than the synthetic ones.
        DeployError: the run that should make one did not.
    """
    repository = parsed.out / MODELS
    if not find_models(repository):
        console.print(f"{repository} holds no model yet: first a run of the preset {parsed.preset}", highlight=False)
        subprocess.run(
            [sys.executable, "-m", "pipelines.run", "--preset", parsed.preset, "--out", str(parsed.out)], check=False
        )
    models = find_models(repository)
    if not models:
        raise DeployError(f"{repository} holds no model", "one of the run above", "See what it said.")
    name, versions = next(iter(models.items()))
    strange = set(ModelCard.read(repository / name / str(versions[-1]) / "model.json").classes) - set(FORMS)
    if strange:
        found = f"{name} knows {', '.join(sorted(strange))}"
        raise BadConfigError(found, "a model of the synthetic species, which are what is sent", "Give another OUT.")
    return name, versions[-1]


def _traffic_config(parsed: argparse.Namespace, species: tuple[str, ...]) -> TrafficConfig:
    """Returns how slices are made: as the preset does.

    Raises:
        BadConfigError: the preset makes no phantoms, or the windows cannot be filled evenly.
    """
    preset = load_preset(parsed.preset)
    if preset.phantoms is None:
        raise BadConfigError(f"preset {parsed.preset!r}", "one that makes synthetic specimens", "Say PRESET=sample.")
    slices, rest = divmod(parsed.window_slices, parsed.window_specimens)
    if rest or not slices:
        expected = f"a multiple of {parsed.window_specimens} (--window-specimens)"
        raise BadConfigError(f"--window-slices {parsed.window_slices}", expected)
    return TrafficConfig(
        species=species,
        specimens=parsed.window_specimens,
        slices=slices,
        phantom_size=parsed.phantom_size or preset.phantoms.phantom_size,
        image_size=parsed.image_size or preset.parameters["image_size"],
        planes=preset.parameters["planes"],
        seed=parsed.seed,
    )


def _start(
    parsed: argparse.Namespace, folder: Path, model: str, version: int, running: ExitStack, console: Console
) -> tuple[Client, Watch]:
    """Starts the server and the watch; they end with `running`."""
    server, monitor = free_port(8080), free_port(9108)
    shared = ("--repository", str(parsed.out / MODELS), "--events", str(folder / EVENTS))
    serve = ("serving", *shared, "--port", str(server), "--keep_slices", str(folder / "kept"))
    windows = ("--window-slices", str(parsed.window_slices), "--window-specimens", str(parsed.window_specimens))
    ports = ("--port", str(monitor), "--server-port", str(server))
    watch = ("monitoring.local_stack", *shared, "--out", str(folder / "monitoring"), *ports, "--", *windows)
    for name, command in (("server", serve), ("watch", watch)):
        program = [sys.executable, "-m", *command]
        running.enter_context(background_process(program, folder / f"{name}.log"))
    client = running.enter_context(Client(f"http://{HOST}:{server}"))
    console.print(f"serving {model} version {version} at {client.url}", highlight=False)
    client.wait_until_ready(model, READY_S, version)
    found = Watch(f"http://{HOST}:{monitor}", _prometheus(folder / "watch.log"))
    console.print(f"for people: [bold]{found.monitor}/[/bold]  all addresses: {folder / 'watch.log'}", highlight=False)
    return client, found


def _prometheus(log: Path) -> str:
    """Return Prometheus's address as `monitoring.local_stack` printed it, or ""; wait until the monitor is up."""
    _wait_until(lambda: "for people" in log.read_text(), READY_S, f"the monitor of {log} is not up")
    found = re.search(r"Prometheus: (http://[^/\s]+)", log.read_text())
    if not found:
        return ""
    address = found[1]
    _wait_until(lambda: _is_up(f"{address}/-/ready"), READY_S, f"Prometheus at {address} is not up")
    return address


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=ANSWER_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _wait_until(condition: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DeployError(f"{failure} within {seconds:.0f} s", remedy="See the logs in the demonstration's folder.")
        time.sleep(_PAUSE_S)


def _play(
    config: TrafficConfig,
    client: Client,
    watch: Watch,
    served: tuple[str, int],
    folder: Path,
    console: Console,
) -> Iterator[Verdict]:
    """Sends the acts window by window; yields a verdict after each act."""
    for judged, (act, number, specimens) in enumerate(traffic(config), start=1):
        if number == 1:
            console.rule(f"[bold]{act.name}[/bold]: {act.text}", align="left")
        for name, slices in specimens:
            client.predict(served[0], slices, specimen=name)
        watch.wait_until_judged(served[0], judged)
        result = read_result(folder / "monitoring", window_name(*served, judged))
        if result:
            console.print(_sentence(result), highlight=False)
        if number == act.windows:
            yield _verdict(act, watch, served[0])


def _verdict(act: Act, watch: Watch, model: str) -> Verdict:
    """Gives Prometheus the time to scrape and to evaluate what the monitor says."""
    sustained = watch.sustained(model)
    deadline = time.monotonic() + ALERT_S
    while watch.firing() not in (None, sustained) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    return Verdict(act, sustained, watch.firing())


def _sentence(result: WindowResult) -> str:
    names = ", ".join(each.feature for each in result.drifted[:_MOST_FEATURES])
    more = f" and {len(result.drifted) - _MOST_FEATURES} more" if len(result.drifted) > _MOST_FEATURES else ""
    found = f"[red]DRIFT[/red] in {names}{more}" if names else "[green]no drift[/green]"
    shares = f"confidence {result.confidence:.0%}, unknown {result.unknown_share:.0%}"
    return f"window {result.number}: {result.slices} slices of {result.specimens} specimens, {shares}: {found}"


def _show(verdicts: Sequence[Verdict], console: Console) -> None:
    table = Table(title="What the watch said", title_justify="left")
    for column in ("traffic", "expected", "monitor", f"alert {ALERT}", ""):
        table.add_column(column)
    for each in verdicts:
        fires = {None: "Prometheus is not installed", True: "firing", False: "silent"}
        table.add_row(
            each.act.name,
            "alert" if each.act.alert else "silence",
            "sustained drift" if each.sustained else "no sustained drift",
            fires[each.firing],
            "[green]as expected[/green]" if each.as_expected else "[red]NOT as expected[/red]",
        )
    console.print(table)


def _stay(parsed: argparse.Namespace, console: Console) -> None:
    if not parsed.stay:
        return
    console.print("The pages stay up; Ctrl-C ends everything.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("ending")


if __name__ == "__main__":
    sys.exit(main())
