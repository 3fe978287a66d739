"""`make monitor`: the monitor with Evidently's UI and, where it is installed, Prometheus with the rules.

Each is a process of its own; when one asks this one to end, or the monitor ends, all of them end politely.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.shared.errors import EXIT_BAD_INPUT, BadConfigError
from components.shared.files import write_atomically
from components.shared.subprocesses import HOST, background_process, free_port, terminated_at_exit
from monitoring.alerting.rules import rule_groups
from monitoring.drift.results import WORKSPACE

MONITOR_PORT, EVIDENTLY_PORT, PROMETHEUS_PORT = 9108, 9109, 9110
SCRAPE_S = 5


@dataclass(frozen=True)
class Companion:
    """A process beside the monitor.

    Attributes:
        name: as it is called on the screen.
        command: the program and its arguments.
        address: what a person opens.
        log: takes what it says.
    """

    name: str
    command: tuple[str, ...]
    address: str
    log: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until a signal or until the monitor ends; returns the monitor's exit code."""
    parsed = _parse(arguments)
    try:
        parsed.out.mkdir(parents=True, exist_ok=True)
        parsed.port = free_port(parsed.port)
        companions = companions_of(parsed)
    except OSError as error:
        sys.stderr.write(f"[monitor] --out {parsed.out} cannot be written ({error.strerror})\n")
        return EXIT_BAD_INPUT
    except BadConfigError as error:
        sys.stderr.write(f"[monitor] {error}\n")
        return EXIT_BAD_INPUT
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as running:
        for companion in companions:
            running.enter_context(background_process(companion.command, companion.log))
            _say(f"{companion.name}: {companion.address}")
        if not shutil.which("prometheus"):
            _say("Prometheus is not installed: no alerts here; the page and Evidently show the same drift")
        monitor = running.enter_context(terminated_at_exit(subprocess.Popen(_monitor_command(parsed, companions))))
        while monitor.poll() is None and not stop.wait(0.2):
            pass
    return monitor.returncode


def companions_of(parsed: argparse.Namespace) -> list[Companion]:
    """Returns Evidently's UI and, where it is installed, Prometheus, each on a free port.

    Raises:
        OSError: the folder cannot be written.
        BadConfigError: no port is free.
    """
    found = [_evidently(parsed.out, free_port(EVIDENTLY_PORT))]
    prometheus = shutil.which("prometheus")
    if prometheus:
        found.append(_prometheus(prometheus, parsed, free_port(PROMETHEUS_PORT)))
    return found


def prometheus_settings(monitor: str, server: str) -> dict[str, object]:
    """Returns Prometheus's configuration.

    Args:
        monitor: host and port of the monitor.
        server: host and port of the model server.
    """
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target]}]}
        for name, target in (("taxonflow-monitor", monitor), ("taxonflow-server", server))
    ]
    seconds = f"{SCRAPE_S}s"
    return {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": ["rules.yaml"],
        "scrape_configs": jobs,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m monitoring.local_stack", description=__doc__)
    parser.add_argument("--events", type=Path, required=True, help="folder of the drift events")
    parser.add_argument("--repository", type=Path, required=True, help="model repository")
    parser.add_argument("--out", type=Path, required=True, help="folder for reports, results and state")
    parser.add_argument("--port", type=int, default=MONITOR_PORT, help="port of the page and /metrics (%(default)s)")
    parser.add_argument("--server-port", type=int, default=8080, help="port of the model server (%(default)s)")
    parser.add_argument("options", nargs="*", help="after --: more options of python -m monitoring")
    return parser.parse_args(arguments)


def _monitor_command(parsed: argparse.Namespace, companions: Sequence[Companion]) -> list[str]:
    folders = ["--events", str(parsed.events), "--repository", str(parsed.repository), "--out", str(parsed.out)]
    links = [part for each in companions for part in ("--link", f"{each.name}={each.address}")]
    return [sys.executable, "-m", "monitoring", *folders, "--port", str(parsed.port), *links, *parsed.options]


def _evidently(out: Path, port: int) -> Companion:
    (out / WORKSPACE).mkdir(exist_ok=True)
    serve = ("ui", "--workspace", str(out / WORKSPACE), "--host", HOST, "--port", str(port))
    start = "import sys; from evidently.cli.main import app; sys.argv[0] = 'evidently'; app()"
    return Companion("Evidently", (sys.executable, "-c", start, *serve), f"http://{HOST}:{port}", out / "evidently.log")


def _prometheus(program: str, parsed: argparse.Namespace, port: int) -> Companion:
    folder = parsed.out / "prometheus"
    settings = prometheus_settings(f"{HOST}:{parsed.port}", f"{HOST}:{parsed.server_port}")
    write_atomically(folder / "prometheus.yaml", yaml.safe_dump(settings).encode())
    write_atomically(folder / "rules.yaml", yaml.safe_dump(rule_groups()).encode())
    command = (
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    )
    return Companion("Prometheus", command, f"http://{HOST}:{port}", parsed.out / "prometheus.log")


def _say(message: str) -> None:
    sys.stdout.write(f"[monitor] {message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
