"""A run of the pipeline on this machine: a child process, its log, and the artifacts that it leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.local.console import Screen, Story

LOG_FILE, ROOT_FOLDER = "run.log", "pipeline"


@dataclass(frozen=True)
class Artifacts:
    """Where a finished run left what the summary is made of.

    Attributes:
        root: folder of the run's tasks.
    """

    root: Path

    def of(self, task: str, output: str) -> Path | None:
        """Returns the path of a task's artifact, or None if the task did not leave it."""
        found = sorted(self.root.glob(f"*/**/{task}/{output}"))
        return found[0] if found else None

    def values(self, task: str) -> dict[str, Any]:
        """Returns the output parameters of a task; none if it did not end."""
        path = self.of(task, "executor_output.json")
        return dict(json.loads(path.read_text()).get("parameterValues", {})) if path else {}


def run_pipeline(
    pipeline: str, arguments: Mapping[str, Any], folder: Path, console: Console
) -> tuple[bool, Story, Artifacts]:
    """Runs a pipeline to its end, showing how far it is.

    Args:
        pipeline: a key of `pipelines.training.PIPELINES`.
        arguments: of the pipeline.
        folder: takes the log and the tasks' folders.
        console: where progress is shown.

    Returns:
        Whether every task succeeded, what the log told, and the artifacts.
    """
    root = folder / ROOT_FOLDER
    order = json.dumps({"pipeline": pipeline, "arguments": dict(arguments), "root": str(root)})
    backbones = len(arguments.get("backbones", ())) or 1
    with _child(["-m", "pipelines.local.runner"], _environment(backbones)) as process:
        assert process.stdin is not None  # a pipe
        assert process.stdout is not None  # a pipe
        process.stdin.write(order + "\n")
        process.stdin.flush()
        story = Screen(console, folder / LOG_FILE).follow(process.stdout)
        succeeded = process.wait() == 0
    return succeeded, story, Artifacts(root)


def _environment(backbones: int) -> dict[str, str]:
    """Quiets TensorFlow and shares the cores out, since all backbones train at once."""
    threads = max(1, (os.cpu_count() or 1) // backbones)
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}


@contextmanager
def _child(arguments: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Starts Python with a process group of its own and ends the whole group with the block."""
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
        with suppress(ProcessLookupError):  # the group may have more members than the one that it began with, or none
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
