"""`make monitor`: the monitor with Evidently's UI and, if installed, Prometheus with the alert rules.

Each runs in its own process. All of them stop on a signal, or when the monitor exits.
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
from components.shared.progress import log
from components.shared.subprocesses import HOST, background_process, free_port, terminated_at_exit
from monitoring.alerting.rules import rule_groups
from monitoring.drift.results import WORKSPACE

MONITOR_PORT, EVIDENTLY_PORT, PROMETHEUS_PORT = 9108, 9109, 9110
SCRAPE_S = 5


@dataclass(frozen=True)
class Service:
    """A service that runs beside the monitor.

    Attributes:
        name: Name in the console output and on the status page.
        command: Program and its arguments.
        url: URL of its user interface.
        log: File for its output.
    """

    name: str
    command: tuple[str, ...]
    url: str
    log: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal or until the monitor exits; return the exit code of the monitor."""
    options = _parse(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        options.port = free_port(options.port)
        services = local_services(options)
    except OSError as error:
        sys.stderr.write(f"[monitor] --out {options.out} cannot be written ({error.strerror})\n")
        return EXIT_BAD_INPUT
    except BadConfigError as error:
        sys.stderr.write(f"[monitor] {error}\n")
        return EXIT_BAD_INPUT
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as processes:
        for service in services:
            processes.enter_context(background_process(service.command, service.log))
            log("monitor", f"{service.name}: {service.url}")
        if not shutil.which("prometheus"):
            log("monitor", "Prometheus is not installed: no alerts; the status page and Evidently show the same drift")
        monitor = processes.enter_context(terminated_at_exit(subprocess.Popen(_monitor_command(options, services))))
        while monitor.poll() is None and not stop.wait(0.2):
            pass
    return monitor.returncode


def local_services(options: argparse.Namespace) -> list[Service]:
    """Return Evidently's UI and, if installed, Prometheus, each on a free port.

    Raises:
        OSError: The folder cannot be written.
        BadConfigError: No port is free.
    """
    services = [_evidently(options.out, free_port(EVIDENTLY_PORT))]
    prometheus = shutil.which("prometheus")
    if prometheus:
        services.append(_prometheus(prometheus, options, free_port(PROMETHEUS_PORT)))
    return services


def prometheus_settings(monitor: str, server: str) -> dict[str, object]:
    """Return the configuration of Prometheus.

    Args:
        monitor: Host and port of the monitor.
        server: Host and port of the model server.
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
    parser.add_argument("monitor_options", nargs="*", help="after --: further options of python -m monitoring")
    return parser.parse_args(arguments)


def _monitor_command(options: argparse.Namespace, services: Sequence[Service]) -> list[str]:
    folders = ["--events", str(options.events), "--repository", str(options.repository), "--out", str(options.out)]
    links = [argument for each in services for argument in ("--link", f"{each.name}={each.url}")]
    return [sys.executable, "-m", "monitoring", *folders, "--port", str(options.port), *links, *options.monitor_options]


def _evidently(out: Path, port: int) -> Service:
    (out / WORKSPACE).mkdir(exist_ok=True)
    arguments = ("ui", "--workspace", str(out / WORKSPACE), "--host", HOST, "--port", str(port))
    launcher = "import sys; from evidently.cli.main import app; sys.argv[0] = 'evidently'; app()"
    return Service(
        "Evidently", (sys.executable, "-c", launcher, *arguments), f"http://{HOST}:{port}", out / "evidently.log"
    )


def _prometheus(program: str, options: argparse.Namespace, port: int) -> Service:
    folder = options.out / "prometheus"
    settings = prometheus_settings(f"{HOST}:{options.port}", f"{HOST}:{options.server_port}")
    write_atomically(folder / "prometheus.yaml", yaml.safe_dump(settings).encode())
    write_atomically(folder / "rules.yaml", yaml.safe_dump(rule_groups()).encode())
    command = (
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    )
    return Service("Prometheus", command, f"http://{HOST}:{port}", options.out / "prometheus.log")


if __name__ == "__main__":
    sys.exit(main())
