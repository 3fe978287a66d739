"""The drift monitor: `python -m monitoring --events DIR --repository DIR-or-URL --out DIR`."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from pydantic import ValidationError

from components.shared.errors import BadConfigError, BadInputError, TaxonflowError, exit_code_of
from components.shared.progress import log
from monitoring.config import MonitorConfig
from monitoring.drift.results import WORKSPACE
from monitoring.drift.sentences import describe_model, describe_waiting, describe_window
from monitoring.service.http import serve_monitor
from monitoring.service.model_mirror import is_address
from monitoring.service.monitor import Monitor

EXIT_DRIFT = 4
EXIT_INSUFFICIENT_DATA = 5
COPIES = "models"
"""Folder in `--out` with the copies of a repository in an object store."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        With `--once` 0 (no drift), EXIT_DRIFT or EXIT_INSUFFICIENT_DATA; otherwise 0 after a signal. EXIT_BAD_INPUT or
        EXIT_FAILED after an error.
    """
    try:
        options = _parse(arguments)
        config = _config(options)
        return _run_once(config) if options.once else _run(config)
    except TaxonflowError as error:
        sys.stderr.write(f"[monitor] {error}\n")
        return exit_code_of(error)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    default = {name: field.default for name, field in MonitorConfig.model_fields.items()}
    verdicts = f"0 no drift, {EXIT_DRIFT} drift, {EXIT_INSUFFICIENT_DATA} insufficient data"
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    add = parser.add_argument
    add("--events", type=Path, required=True, help="folder of the drift events")
    add("--repository", required=True, help="model repository: a folder, or an address such as s3://bucket/prefix")
    add("--out", type=Path, required=True, help="folder for reports, results and state")
    add("--host", default=default["host"], help="address of the page and /metrics (%(default)s)")
    add("--port", type=int, default=default["port"], help="port of the page and /metrics (%(default)s)")
    add("--link", action="append", default=[], metavar="NAME=URL", help="link on the page; may be repeated")
    add("--once", action="store_true", help=f"evaluate the stored events and exit with a code: {verdicts}")
    add("--window-slices", type=int, default=default["window_slices"], help="minimum slices (%(default)s)")
    add("--window-specimens", type=int, default=default["window_specimens"], help="minimum specimens (%(default)s)")
    add("--seed", type=int, default=default["seed"], help="seed of the calibration (%(default)s)")
    return parser.parse_args(arguments)


def _config(options: argparse.Namespace) -> MonitorConfig:
    fields = {name: value for name, value in vars(options).items() if name not in ("once", "link")}
    if is_address(options.repository):
        fields["repository_url"], fields["repository"] = options.repository, options.out / COPIES
    fields["links"] = dict(link.partition("=")[::2] for link in options.link)
    try:
        return MonitorConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise BadConfigError(f"{option} {first['input']}: {first['msg']}") from error


def _run_once(config: MonitorConfig) -> int:
    monitor = Monitor(config)
    _poll(monitor)
    models = monitor.status.models
    if not models:
        raise BadInputError(monitor.status.waiting_reason, remedy="Publish a model first, for example with make run.")
    for model in models:
        log("monitor", describe_model(model, config))
    if any(model.consecutive_drifted for model in models):
        return EXIT_DRIFT
    return 0 if any(model.result for model in models) else EXIT_INSUFFICIENT_DATA


def _run(config: MonitorConfig) -> int:
    monitor = Monitor(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = serve_monitor(lambda: monitor.status, config)
    address = f"http://{config.host}:{server.server_port}"
    log("monitor", f"monitoring {config.events}; metrics: {address}/metrics; status page: {address}/; Ctrl-C to stop")
    if not config.links:
        log("monitor", f"windows over time: evidently ui --workspace {config.out / WORKSPACE}")
    _poll(monitor)
    names = _describe_models(monitor, ())
    while not stop.wait(config.poll_seconds):
        _poll(monitor)
        names = _describe_models(monitor, names)
    server.shutdown()
    log("monitor", "stopped; incomplete windows are read again at the next start")
    return 0


def _describe_models(monitor: Monitor, earlier_names: tuple[str, ...]) -> tuple[str, ...]:
    """Log the state of each model that was not described before, or once why there is none.

    Args:
        monitor: Monitor after a poll.
        earlier_names: Return value of the previous call.

    Returns:
        The names of the monitored models, or the reason for which there is none.
    """
    status = monitor.status
    names = tuple(model.model for model in status.models) or (status.waiting_reason,)
    if names != earlier_names and status.waiting_reason:
        log("monitor", describe_waiting(status))
    for model in status.models:
        if model.model not in earlier_names:
            log("monitor", describe_model(model, monitor.config))
    return names


def _poll(monitor: Monitor) -> None:
    for result in monitor.poll():
        log("monitor", f"{describe_window(result)}; report {monitor.report_of(result)}")


if __name__ == "__main__":
    sys.exit(main())
