"""A local run: the pipeline call, the run's folder, the first request and the summary."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from components.ingest.sources import absolute_address
from components.parameters.check import check_training
from components.shared.config import Frozen
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, BadInputError, DeployError, TaxonflowError
from components.shared.files.locks import exclusive_lock
from components.shared.model_repository import artifact_folder, read_card, version_folder
from components.shared.slices import count_tested
from components.shared.subprocesses import terminated_at_exit
from pipelines.local.console import RunLog
from pipelines.local.process import LOG_FILE, Artifacts, run_pipeline, scratch_folder
from pipelines.local.summary import Summary
from pipelines.presets import load_preset

SUMMARY_FILE, LATEST, MODELS, EVENTS = "summary.json", "latest", "models", "events"

PHOTOGRAPHS = {"segmentation": "none", "material": "photographs"}
"""Pipeline arguments for photographs, which override those of any preset."""


class RunOptions(Frozen):
    """Options of a local run.

    Attributes:
        preset: Name of a preset.
        volumes: Folder or manifest of volumes, a path or an address; None for photographs or phantoms.
        photos: Folder or manifest of photographs, a path or an address; None for volumes or phantoms.
        backbones: Backbones to train; empty for those of the preset.
        threshold: Slice accuracy that the gate requires; None for that of the preset.
        doubtful_masks: Treatment of scans whose segmentation is doubtful; None for that of the preset.
        rare_species: Treatment of species with fewer than three specimens; None for that of the preset.
        folds: Number of folds in which every specimen is tested once; None for that of the preset.
        seed: Seed of every random choice.
        out: Folder for runs, models and events.
    """

    preset: str
    volumes: str | None
    photos: str | None
    backbones: tuple[str, ...]
    threshold: float | None
    doubtful_masks: str | None = None
    rare_species: str | None = None
    folds: int | None = None
    seed: int
    out: Path

    @property
    def is_synthetic(self) -> bool:
        """True if the run generates phantoms as its input."""
        return self.volumes is None and self.photos is None


def run(options: RunOptions, console: Console) -> tuple[Summary, Path]:
    """Run the pipeline once and write its summary.

    Returns:
        The summary and the run's folder.

    Raises:
        BadConfigError: The output folder cannot be written or is in use by another run.
    """
    with scratch_folder(), _lock(options.out, console):
        folder = _new_folder(options.out)
        summary = _run(options, folder, console)
        _publish(options.out, folder, summary, console)
    return summary, folder


def _run(options: RunOptions, folder: Path, console: Console) -> Summary:
    """Run the pipeline and send a request to the deployed model; return a summary, also of a failed run."""
    try:
        pipeline, parameters = pipeline_call(options)
        success, log, artifacts = run_pipeline(pipeline, parameters, folder, console)
        if not success:
            outcome, message = log.first_error or ("failed", f"A step failed ({log.failure}). See {folder / LOG_FILE}.")
            return Summary(
                outcome=outcome,
                message=message,
                dataset=_dataset(artifacts),
                seconds=log.seconds,
                synthetic=options.is_synthetic,
            )
        return _summarise(options, parameters["name"], log, artifacts, folder)
    except KeyboardInterrupt:
        return Summary(outcome="failed", message="Interrupted.", synthetic=options.is_synthetic)
    except TaxonflowError as error:
        outcome = "bad_input" if isinstance(error, BadInputError) else "failed"
        return Summary(outcome=outcome, message=str(error), synthetic=options.is_synthetic)


def pipeline_call(options: RunOptions) -> tuple[str, dict[str, Any]]:
    """Return the name of the pipeline that the options select, and its arguments.

    Raises:
        BadConfigError: The preset or a backbone is unknown, there is no input or more than one, the seed is invalid,
            or the threshold is outside 0..1.
    """
    preset = load_preset(options.preset)
    arguments = {**preset.parameters, "seed": options.seed, "target": (options.out / MODELS).as_uri()}
    if options.backbones:
        arguments["backbones"] = list(options.backbones)
    if options.threshold is not None:
        if not 0 <= options.threshold <= 1:
            raise BadConfigError(f"THRESHOLD={options.threshold:g}", "a number from 0 to 1", "Set THRESHOLD=0.95.")
        arguments["threshold"] = options.threshold
    choices = {name: getattr(options, name) for name in ("doubtful_masks", "rare_species", "folds")}
    arguments.update({name: value for name, value in choices.items() if value is not None})
    if options.photos is not None:
        arguments.update(PHOTOGRAPHS)
    check_training(arguments)
    source = _source(options)
    if source is not None:
        return "training", {**arguments, "volumes": absolute_address(source), "confined": False}
    if preset.phantoms is None:
        remedy = "Set VOLUMES=... or PHOTOS=..."
        raise BadConfigError(f"preset {options.preset} without volumes", "a folder or a manifest", remedy)
    return "phantom_training", {**arguments, **preset.phantoms.model_dump()}


def _source(options: RunOptions) -> str | None:
    """Return the address of the volumes or photographs; None for phantoms."""
    if options.volumes is not None and options.photos is not None:
        remedy = "Start one run for each: a model is trained on one kind of input."
        raise BadConfigError("VOLUMES and PHOTOS", "one of them", remedy)
    return options.volumes or options.photos


def _summarise(options: RunOptions, name: str, log: RunLog, artifacts: Artifacts, folder: Path) -> Summary:
    served = artifacts.of("evaluate", "served")
    assert served is not None  # the pipeline succeeded
    card = read_card(artifact_folder(served))
    seconds, model, answer = log.seconds, None, None
    findings = artifacts.of("evaluate", "findings")
    if card.gate.passed:
        start = time.monotonic()
        version = int(artifacts.values("deploy")["version"])
        model = {"name": name, "version": version, "path": str(version_folder(options.out / MODELS, name, version))}
        raw = artifacts.of("ingest", "slices")
        assert raw is not None  # the pipeline succeeded
        answer = _first_answer(options.out, name, version, raw, folder / "server.log")
        seconds = {**seconds, "serve": round(time.monotonic() - start, 2)}
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
        synthetic=options.is_synthetic,
    )


def _first_answer(out: Path, name: str, version: int, raw: Path, log: Path) -> dict[str, Any]:
    """Send a raw slice to the deployed model from a separate process and return the answer that it prints."""
    folders = {"models": out / MODELS, "events": out / EVENTS, "raw": raw, "log": log}
    settings = {**folders, "name": name, "version": version}
    command = [
        sys.executable,
        "-m",
        "pipelines.local.first_request",
        *(f"--{key}={value}" for key, value in settings.items()),
    ]
    with terminated_at_exit(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)) as process:
        output = process.communicate()[0].decode()
    last = (output.splitlines() or [""])[-1]
    if process.returncode:
        message = last or f"the first request ended with exit code {process.returncode}"
        raise DeployError(message, remedy=f"See {log}.")
    return dict(json.loads(last))


def _dataset(artifacts: Artifacts) -> dict[str, Any] | None:
    """Describe the slices of the last step that wrote any: the segmented ones, else the raw ones."""
    folder = artifacts.of("segment", "segmented") or artifacts.of("ingest", "slices")
    if folder is None:
        return None
    info = SlicesInfo.read(folder / "dataset.json")
    class_counts = [count for count in info.counts if count.species in info.classes]
    return {
        "slices": sum(count.slices for count in class_counts),
        "specimens": sum(count.specimens for count in class_counts),
        "unseen_slices": sum(count.slices for count in info.counts if count not in class_counts),
        "classes": list(info.classes),
        "by_class": {
            species: sum(count.slices for count in info.counts if count.species == species) for species in info.classes
        },
        "folds": info.folds,
        "test_specimens": count_tested(folder),
        "passed_over": info.passed_over,
        "rare_species": info.rare_species,
        "refused": [refusal.model_dump() for refusal in info.refused],
    }


def _new_folder(out: Path) -> Path:
    folder = out / time.strftime("%Y%m%d-%H%M%S")
    while folder.exists():
        folder = folder.with_name(folder.name + "a")
    folder.mkdir()
    return folder


def _publish(out: Path, folder: Path, summary: Summary, console: Console) -> None:
    """Write the summary and point the link `latest` to the run."""
    try:
        summary.write(folder / SUMMARY_FILE)
    except OSError as error:
        remedy = "Free disk space; a deployed model remains and can be served."
        raise DeployError(f"{folder / SUMMARY_FILE} cannot be written ({error.strerror})", remedy=remedy) from error
    link = out / f".{LATEST}.new"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(out / LATEST)
    except OSError as error:
        _print(console, f"{out / LATEST} cannot be created ({error.strerror}): the run is in {folder}.")


@contextmanager
def _lock(out: Path, console: Console) -> Iterator[None]:
    """Lock the output folder against a second run."""
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            is_kernel_lock = stack.enter_context(exclusive_lock(out / ".lock"))
        except BlockingIOError as error:
            remedy = "Wait until it ends, or set OUT to another folder."
            if error.filename:
                remedy += f" If there is none on any machine, remove {error.filename}."
            raise BadConfigError(f"another run uses {out}", remedy=remedy) from error
        except OSError as error:
            remedy = "Set OUT to another folder."
            raise BadConfigError(f"OUT={out} ({error.strerror})", "a writable folder", remedy) from error
        if not is_kernel_lock:
            _print(console, f"{out} is on a file system without locks: start no second run there from another machine.")
        yield


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
