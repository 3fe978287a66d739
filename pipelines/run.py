"""`make run`: from volumes to an answered request on this machine."""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from components.ingest.sources import absolute_address
from components.shared.config import Frozen
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, BadInputError, DeployError, TaxonflowError, exit_code_of
from components.shared.model_repository import artifact_folder, read_card, version_folder
from components.shared.subprocesses import terminated_at_exit
from pipelines.local.console import Story
from pipelines.local.outcome_table import show_outcome
from pipelines.local.process import LOG_FILE, Artifacts, run_pipeline
from pipelines.local.summary import EXIT_CODE, Summary
from pipelines.presets import check_training, load_preset, preset_names

SUMMARY_FILE, LATEST, MODELS, EVENTS = "summary.json", "latest", "models", "events"


PHOTOGRAPHS = {"segmentation": "none", "material": "photographs"}
"""Arguments that photographs need whatever the preset."""


class Order(Frozen):
    """What the user asked for.

    Attributes:
        preset: name of a preset.
        volumes: folder or manifest of volumes, a path or an address; None for photographs or phantoms.
        photos: folder or manifest of photographs, a path or an address; None for volumes or phantoms.
        backbones: instead of the preset's.
        threshold: instead of the preset's.
        seed: of everything.
        out: folder that takes runs, models and events.
    """

    preset: str
    volumes: str | None
    photos: str | None
    backbones: tuple[str, ...]
    threshold: float | None
    seed: int
    out: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints, writes the summary; returns the exit code."""
    order = parse_order(arguments)
    console = Console()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with _only_run(order.out):
            folder = _new_folder(order.out)
            summary = _run(order, folder, console)
            _publish(order.out, folder, summary)
    except TaxonflowError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return exit_code_of(error)
    show_outcome(summary, folder / SUMMARY_FILE, order.out, console)
    return EXIT_CODE[summary.outcome]


def parse_order(arguments: Sequence[str] | None) -> Order:
    """Reads the command line; an empty value counts as not given, since make passes them so."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    parser.add_argument("--preset", default="sample", help=f"one of {', '.join(preset_names())}")
    parser.add_argument(
        "--volumes", default="", help="folder of species/specimen.nii.gz, or manifest.csv; a path, s3:// or gs://"
    )
    parser.add_argument("--photos", default="", help="folder of species/photograph.jpg, or manifest.csv; likewise")
    parser.add_argument("--backbones", default="", help="comma-separated names instead of the preset's")
    parser.add_argument("--threshold", default="", help="slice accuracy that the gate requires, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for runs, models and events")
    given = parser.parse_args(arguments)
    try:
        threshold = float(given.threshold) if given.threshold else None
    except ValueError:
        parser.error(f"--threshold {given.threshold!r}: expected a number from 0 to 1")
    return Order(
        preset=given.preset,
        volumes=given.volumes or None,
        photos=given.photos or None,
        backbones=tuple(name for name in given.backbones.split(",") if name),
        threshold=threshold,
        seed=given.seed,
        out=given.out.resolve(),
    )


def _run(order: Order, folder: Path, console: Console) -> Summary:
    """Runs the pipeline and asks the deployed model a question; every end becomes a summary."""
    synthetic = order.volumes is None and order.photos is None
    try:
        pipeline, parameters = pipeline_call(order)
        succeeded, story, artifacts = run_pipeline(pipeline, parameters, folder, console)
        if not succeeded:
            outcome, message = story.ending or ("failed", f"A step failed; {folder / LOG_FILE} has its log.")
            return Summary(
                outcome=outcome,
                message=message,
                dataset=_dataset(artifacts),
                seconds=story.seconds,
                synthetic=synthetic,
            )
        return _summarise(order, parameters["name"], story, artifacts, folder)
    except KeyboardInterrupt:
        return Summary(outcome="failed", message="Interrupted.", synthetic=synthetic)
    except TaxonflowError as error:
        outcome = "bad_input" if isinstance(error, BadInputError) else "failed"
        return Summary(outcome=outcome, message=str(error), synthetic=synthetic)


def pipeline_call(order: Order) -> tuple[str, dict[str, Any]]:
    """Turns the order into the name of a pipeline and its arguments.

    Raises:
        BadConfigError: no such preset or backbone, no input or two, an impossible seed, or a threshold outside 0..1.
    """
    preset = load_preset(order.preset)
    arguments = {**preset.parameters, "seed": order.seed, "target": f"file://{order.out / MODELS}"}
    if order.backbones:
        arguments["backbones"] = list(order.backbones)
    if order.threshold is not None:
        if not 0 <= order.threshold <= 1:
            raise BadConfigError(f"THRESHOLD={order.threshold:g}", "a number from 0 to 1")
        arguments["threshold"] = order.threshold
    if order.photos is not None:
        arguments.update(PHOTOGRAPHS)
    check_training(arguments)
    source = _source(order)
    if source is not None:
        return "training", {**arguments, "volumes": absolute_address(source)}
    if preset.phantoms is None:
        remedy = "Give VOLUMES=... or PHOTOS=..."
        raise BadConfigError(f"preset {order.preset} without volumes", "a folder or manifest", remedy)
    return "phantom_training", {**arguments, **preset.phantoms.model_dump()}


def _source(order: Order) -> str | None:
    """Returns where the volumes or photographs are, None for phantoms."""
    if order.volumes is not None and order.photos is not None:
        raise BadConfigError("VOLUMES and PHOTOS", "one of them", "Run twice: each makes a model of its own.")
    return order.volumes or order.photos


def _summarise(order: Order, name: str, story: Story, artifacts: Artifacts, folder: Path) -> Summary:
    served = artifacts.of("evaluate", "served")
    assert served is not None  # the pipeline succeeded
    card = read_card(artifact_folder(served))
    seconds, model, answer = story.seconds, None, None
    findings = artifacts.of("evaluate", "findings")
    if card.gate.passed:
        began = time.monotonic()
        version = int(artifacts.values("deploy")["version"])
        model = {"name": name, "version": version, "path": str(version_folder(order.out / MODELS, name, version))}
        raw = artifacts.of("ingest", "slices")
        assert raw is not None  # the pipeline succeeded
        answer = _first_answer(order.out, name, version, raw, folder / "server.log")
        seconds = {**seconds, "serve": round(time.monotonic() - began, 2)}
    return Summary(
        outcome="deployed" if card.gate.passed else "refused",
        message=" ".join(card.gate.reasons),
        gate=card.gate.model_dump(),
        backbones={backbone: score.model_dump() for backbone, score in card.backbones.items()},
        ensemble={"rule": card.rule, **card.metrics.model_dump(mode="json")},
        model=model,
        report=str(findings / "report.html") if findings else None,
        dataset=_dataset(artifacts),
        answer=answer,
        seconds=seconds,
        synthetic=order.volumes is None and order.photos is None,
    )


def _first_answer(out: Path, name: str, version: int, raw: Path, log: Path) -> dict[str, Any]:
    """Sends a raw slice to the deployed model, in a process of its own; returns what that prints."""
    folders = {"models": out / MODELS, "events": out / EVENTS, "raw": raw, "log": log}
    options = {**folders, "name": name, "version": version}
    command = [
        sys.executable,
        "-m",
        "pipelines.local.first_request",
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    with terminated_at_exit(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)) as asked:
        said = asked.communicate()[0].decode()
    last = (said.splitlines() or [""])[-1]
    if asked.returncode:
        raise DeployError(
            last or f"the first request ended with exit code {asked.returncode}", remedy=f"Look at {log}."
        )
    return dict(json.loads(last))


def _dataset(artifacts: Artifacts) -> dict[str, Any] | None:
    """Describes the slices that the networks saw, or those that were cut if segmentation was not reached."""
    folder = artifacts.of("segment", "segmented") or artifacts.of("ingest", "slices")
    if folder is None:
        return None
    info = SlicesInfo.read(folder / "dataset.json")
    known = [count for count in info.counts if count.species in info.classes]
    return {
        "slices": sum(count.slices for count in known),
        "specimens": sum(count.specimens for count in known),
        "unseen_slices": sum(count.slices for count in info.counts if count not in known),
        "classes": list(info.classes),
        "by_class": {
            species: sum(count.slices for count in info.counts if count.species == species) for species in info.classes
        },
        "test_specimens": {count.species: count.specimens for count in info.counts if count.split == "test"},
        "refused": [refusal.model_dump() for refusal in info.refused],
    }


def _new_folder(out: Path) -> Path:
    folder = out / time.strftime("%Y%m%d-%H%M%S")
    while folder.exists():
        folder = folder.with_name(folder.name + "a")
    folder.mkdir()
    return folder


def _publish(out: Path, folder: Path, summary: Summary) -> None:
    """Writes the summary and lets `latest` point at the run."""
    summary.write(folder / SUMMARY_FILE)
    link = out / f".{LATEST}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(out / LATEST)


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Keeps a second run out of the same folder; the lock ends with the process, however it ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BadConfigError(f"OUT={out} ({error.strerror})", "a folder that can be written") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise BadConfigError(
            f"another run is under way in {out}", remedy="Wait for it, or give another OUT."
        ) from error
    try:
        yield
    finally:
        os.close(lock)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Ends a command by SIGTERM as by Ctrl-C: with what it has started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
