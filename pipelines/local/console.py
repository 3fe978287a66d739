"""Progress of a local run on the console, and its log file."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipelines.local.time_left import TimeLeft

_PROGRESS = re.compile(r"^\s*\[(?P<step>[\w ]+)\] (?P<done>\d+)/(?P<total>\d+) (?P<text>.*)$")
_MESSAGE = re.compile(r"^\s*\[(?P<step>[\w ]+)\] (?P<text>.*)$")
_TASK_START = re.compile(r"Executing task .*?'(?P<step>\w+)[\w-]*'")
_TASK_FAILURE = re.compile(r"Task .* finished with status .*FAILURE")
_ERROR = re.compile(r"^(?P<outcome>bad_input|failed): (?P<message>.*)$")
_LINE_INTERVAL_S = 15.0


@dataclass
class RunLog:
    """Facts read from the log of a run.

    Attributes:
        seconds: Wall time by step.
        failure: Last line of the first task that failed, empty if none failed.
        first_error: Outcome (`bad_input` or `failed`) and message of the first step that reported an error.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    first_error: tuple[str, str] | None = None


class ProgressConsole:
    """Console output of a run: progress bars on a terminal, a line every 15 s elsewhere.

    Args:
        console: Console to print to.
        log_file: File that every line of the log is appended to.
        time_left: Estimate of the time to the end of the run, shown with the progress.
    """

    def __init__(self, console: Console, log_file: Path, time_left: TimeLeft | None = None) -> None:
        self.console = console
        self.log_file = log_file
        self.time_left = time_left or TimeLeft(backbones=1)
        self.log = RunLog()
        self._step, self._step_start, self._last_line = "", 0.0, ""
        self._bars: dict[str, TaskID] = {}
        self._last_line_times: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def follow(self, lines: Iterable[str]) -> RunLog:
        """Print and store the lines of a log until it ends."""
        with self._progress, self.log_file.open("a", encoding="utf-8") as file:
            for line in lines:
                file.write(line)
                file.flush()
                self._handle(line.rstrip("\n"))
        self._start_step("")
        return self.log

    def _handle(self, line: str) -> None:
        if match := _PROGRESS.match(line):
            self._advance(match["step"], int(match["done"]), int(match["total"]), match["text"])
        elif match := _MESSAGE.match(line):
            self._print_message(match["step"], match["text"])
        elif (match := _TASK_START.search(line)) and match["step"] != self._step:
            self._start_step(match["step"])
            self._last_line = ""
        elif _TASK_FAILURE.search(line):
            self.log.failure = self.log.failure or f"{self._step}: {self._last_line or 'the process was ended'}"
        elif line.strip():
            self._last_line = line.strip()

    def _start_step(self, step: str) -> None:
        """Record the time of the previous step; tasks whose names start with the same word count as one step."""
        now = time.monotonic()
        if self._step:
            self.log.seconds[self._step] = round(now - self._step_start, 2)
        self._step, self._step_start = step, now
        self.time_left.start(step)

    def _advance(self, step: str, count: int, total: int, text: str) -> None:
        self.time_left.advance(step, count, total, text)
        if remaining := self.time_left.describe():
            text = f"{text} ({remaining})"
        if self.console.is_terminal:
            if step not in self._bars:
                self._bars[step] = self._progress.add_task(step, total=total, text=text)
            self._progress.update(self._bars[step], completed=count, total=total, text=text)
        elif count == total or time.monotonic() - self._last_line_times.get(step, 0.0) > _LINE_INTERVAL_S:
            self._last_line_times[step] = time.monotonic()
            self.console.print(f"{step:<20} {count:,}/{total:,} {text}", highlight=False, markup=False)

    def _print_message(self, step: str, text: str) -> None:
        error = _ERROR.match(text)
        if error is None:
            self.console.print(f"{step:<20} {text}", highlight=False, markup=False)
        elif self.log.first_error is None:
            self.log.first_error = (error["outcome"], error["message"])
