"""Watches the traffic for drift: `python -m monitoring --events DIR --repository DIR --out DIR`."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from components.shared.errors import BadConfigError, TaxonflowError, exit_code_of
from monitoring.config import MonitorConfig
from monitoring.drift.results import WORKSPACE
from monitoring.drift.sentences import describe_model, describe_window
from monitoring.service.http import serve_monitor
from monitoring.service.monitor import Monitor

EXIT_DRIFT = 4
EXIT_TOO_LITTLE = 5


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
        with `--once` 0 (no drift), EXIT_DRIFT or EXIT_TOO_LITTLE; 0 when stopped; EXIT_BAD_INPUT or EXIT_FAILED.
    """
    try:
        parsed = _parse(arguments)
        config = _configure(parsed)
        return _once(config) if parsed.once else _follow(config)
    except TaxonflowError as error:
        sys.stderr.write(f"[monitor] {error}\n")
        return exit_code_of(error)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    default = {name: field.default for name, field in MonitorConfig.model_fields.items()}
    verdicts = f"0 no drift, {EXIT_DRIFT} drift, {EXIT_TOO_LITTLE} too little data"
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    add = parser.add_argument
    add("--events", type=Path, required=True, help="folder of the drift events")
    add("--repository", type=Path, required=True, help="model repository")
    add("--out", type=Path, required=True, help="folder for reports, results and state")
    add("--host", default=default["host"], help="address of the page and /metrics (%(default)s)")
    add("--port", type=int, default=default["port"], help="port of the page and /metrics (%(default)s)")
    add("--link", action="append", default=[], metavar="NAME=URL", help="a link on the page; may be repeated")
    add("--once", action="store_true", help=f"judge what is there and end with an exit code: {verdicts}")
    add("--window-slices", type=int, default=default["window_slices"], help="fewest slices (%(default)s)")
    add("--window-specimens", type=int, default=default["window_specimens"], help="fewest specimens (%(default)s)")
    add("--seed", type=int, default=default["seed"], help="seed of the calibration (%(default)s)")
    return parser.parse_args(arguments)


def _configure(parsed: argparse.Namespace) -> MonitorConfig:
    fields = {name: value for name, value in vars(parsed).items() if name not in ("once", "link")}
    fields["links"] = dict(link.partition("=")[::2] for link in parsed.link)
    try:
        return MonitorConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise BadConfigError(f"{option} {first['input']}: {first['msg']}") from error


def _once(config: MonitorConfig) -> int:
    monitor = Monitor(config)
    _poll(monitor)
    models = monitor.status.models
    for model in models:
        _say(describe_model(model, config))
    if any(model.drifted_in_a_row for model in models):
        return EXIT_DRIFT
    return 0 if any(model.result for model in models) else EXIT_TOO_LITTLE


def _follow(config: MonitorConfig) -> int:
    monitor = Monitor(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = serve_monitor(lambda: monitor.status, config)
    address = f"http://{config.host}:{server.server_port}"
    _say(f"watching {config.events}; metrics at {address}/metrics, for people {address}/; Ctrl-C ends it")
    if not config.links:
        _say(f"windows over time: evidently ui --workspace {config.out / WORKSPACE}")
    _poll(monitor)
    for model in monitor.status.models:
        _say(describe_model(model, config))
    while not stop.wait(config.poll_seconds):
        _poll(monitor)
    server.shutdown()
    _say("stopped; what is pending is read again at the next start")
    return 0


def _poll(monitor: Monitor) -> None:
    for result in monitor.poll():
        _say(f"{describe_window(result)}; report {monitor.report_of(result)}")


def _say(message: str) -> None:
    sys.stdout.write(f"[monitor] {message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
