"""The pipeline's process in a local run, its log and its artifacts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError, ContractError, DeployError
from components.shared.progress import PROGRESS_VARIABLE
from components.shared.slices import INFO_FILE
from pipelines.local.console import ProgressConsole, RunLog
from pipelines.local.time_left import TimeLeft

EXIT_TERMINATED = 128 + signal.SIGTERM
LOG_FILE, ROOT_FOLDER = "run.log", "pipeline"
Processes = Mapping[Path, subprocess.Popen[bytes]]
"""Background processes by the file of their log."""
_SCRATCH_BYTES = 4 * 2**20
_MULTIPROCESSING_PREFIX, _AFTER_MULTIPROCESSING = "pymp-", -101
"""Folders that multiprocessing removes itself at the exit of a process, with priority -100."""


@dataclass(frozen=True)
class Artifacts:
    """Artifacts of a local run.

    Attributes:
        root: Folder of the run's tasks.
    """

    root: Path

    def of(self, task: str, output: str) -> Path | None:
        """Return the path of a task's artifact, or None if the task did not write it."""
        paths = sorted(self.root.glob(f"*/**/{task}/{output}"))
        return paths[0] if paths else None

    def values(self, task: str) -> dict[str, Any]:
        """Return the output parameters of a task; empty if the task did not end."""
        path = self.of(task, "executor_output.json")
        return dict(json.loads(path.read_text()).get("parameterValues", {})) if path else {}


def run_pipeline(
    pipeline: str, arguments: Mapping[str, Any], folder: Path, console: Console
) -> tuple[bool, RunLog, Artifacts]:
    """Run a pipeline to its end and show its progress.

    Args:
        pipeline: Name of the pipeline, a key of `pipelines.training.build_pipelines`.
        arguments: Arguments of the pipeline.
        folder: Folder for the log and the tasks' folders.
        console: Console for the progress.

    Returns:
        True if every task succeeded, the facts from the log, and the artifacts.
    """
    root = folder / ROOT_FOLDER
    call = json.dumps({"pipeline": pipeline, "arguments": dict(arguments), "root": str(root)})
    backbones = len(arguments.get("backbones", ())) or 1
    with python_process(["-m", "pipelines.local.runner"], _environment(backbones)) as process:
        assert process.stdin is not None  # a pipe
        assert process.stdout is not None  # a pipe
        process.stdin.write(call + "\n")
        process.stdin.flush()
        time_left = TimeLeft(backbones, partial(_count_folds, Artifacts(root)))
        log = ProgressConsole(console, folder / LOG_FILE, time_left).follow(process.stdout)
        success = process.wait() == 0
    return success, log, Artifacts(root)


def _count_folds(artifacts: Artifacts) -> int:
    """Return the number of folds of the data set that is trained on; 0 if it cannot be read."""
    slices = artifacts.of("segment", "segmented")
    try:
        return SlicesInfo.read(slices / INFO_FILE).folds if slices else 0
    except ContractError:
        return 0


def _environment(backbones: int) -> dict[str, str]:
    """Return the environment of the pipeline: fewer TensorFlow messages, and the cores divided among the backbones."""
    threads = max(1, (os.cpu_count() or 1) // backbones)
    settings = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        PROGRESS_VARIABLE: "0.2",
        "HDF5_USE_FILE_LOCKING": "FALSE",  # a file of weights has one writer, and not every file system has locks
    }
    return {**os.environ, **settings}


@contextmanager
def python_process(arguments: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run Python in its own process group; kill the whole group when the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):  # no members are left; macOS: the leader has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give this process and its children one folder for temporary files, which is removed when the block ends.

    Raises:
        BadConfigError: The folder that TMPDIR names is missing, full or not writable.
    """
    before = os.environ.get("TMPDIR")
    try:
        folder = Path(tempfile.mkdtemp(prefix="taxonflow-", dir=before or tempfile.gettempdir()))
    except OSError as error:
        raise _unusable_folder_error(before, error) from error
    os.environ["TMPDIR"], default, tempfile.tempdir = str(folder), tempfile.tempdir, str(folder)
    try:
        _check_space(folder, before)
        yield folder
    finally:
        tempfile.tempdir = default
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
        _remove_scratch(folder)


def _remove_scratch(folder: Path) -> None:
    """Remove a folder; if multiprocessing uses folders in it, it is removed after them at the exit of this process."""
    for path in folder.iterdir():
        if path.name.startswith(_MULTIPROCESSING_PREFIX):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:  # it is not empty
        Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=_AFTER_MULTIPROCESSING)


def _check_space(folder: Path, name: str | None) -> None:
    try:
        (folder / "probe").write_bytes(bytes(_SCRATCH_BYTES))
    except OSError as error:
        raise _unusable_folder_error(name, error) from error
    finally:
        (folder / "probe").unlink(missing_ok=True)


def _unusable_folder_error(name: str | None, error: OSError) -> BadConfigError:
    remedy = "Free disk space, or set TMPDIR to another folder."
    reason = os.strerror(error.errno or 0)
    return BadConfigError(f"TMPDIR={name or ''} ({reason})", "a folder with free space for temporary files", remedy)


def check_running(processes: Processes) -> None:
    """Raise DeployError with the last line of the log of a process that has ended."""
    for log, process in processes.items():
        if process.poll() is not None:
            lines = log.read_text(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
            raise DeployError(f"the {log.stem} ended with exit code {process.returncode}: {reason}", "", f"See {log}.")


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C, so that child processes are stopped as well."""
    raise KeyboardInterrupt


def end_by_termination(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle SIGTERM: end child processes, remove temporary files and exit with 143; ignore further SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(EXIT_TERMINATED)
