"""What a person sees while a pipeline runs on a laptop, and what the log keeps."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_PROGRESS = re.compile(r"^\s*\[(?P<step>[\w ]+)\] (?P<done>\d+)/(?P<total>\d+) (?P<text>.*)$")
_NOTE = re.compile(r"^\s*\[(?P<step>[\w ]+)\] (?P<text>.*)$")
_BEGIN = re.compile(r"Executing task .*?'(?P<step>\w+)[\w-]*'")
_ENDING = re.compile(r"^(?P<outcome>bad_input|failed): (?P<message>.*)$")
_PLAIN_PAUSE_S = 15.0


@dataclass
class Story:
    """What the log told.

    Attributes:
        seconds: wall time by step.
        ending: outcome and message of the first step that ended in a sentence of its own.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    ending: tuple[str, str] | None = None


class Screen:
    """Turns a pipeline's log into bars on a terminal, or into a line now and then elsewhere.

    Args:
        console: where to draw.
        log: keeps every line.
    """

    def __init__(self, console: Console, log: Path) -> None:
        self.console = console
        self.log = log
        self.story = Story()
        self._step, self._began = "", 0.0
        self._bars: dict[str, TaskID] = {}
        self._last_plain: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def follow(self, lines: Iterable[str]) -> Story:
        """Shows the lines of a log until they end."""
        with self._progress, self.log.open("a", encoding="utf-8") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._show(line.rstrip("\n"))
        self._begin("")
        return self.story

    def _show(self, line: str) -> None:
        if found := _PROGRESS.match(line):
            self._advance(found["step"], int(found["done"]), int(found["total"]), found["text"])
        elif found := _NOTE.match(line):
            self._note(found["step"], found["text"])
        elif (found := _BEGIN.search(line)) and found["step"] != self._step:
            self._begin(found["step"])

    def _begin(self, step: str) -> None:
        """Notes the time of the step before; tasks whose names begin with the same word count as one step."""
        now = time.monotonic()
        if self._step:
            self.story.seconds[self._step] = round(now - self._began, 2)
        self._step, self._began = step, now

    def _advance(self, step: str, done: int, total: int, text: str) -> None:
        if self.console.is_terminal:
            if step not in self._bars:
                self._bars[step] = self._progress.add_task(step, total=total, text=text)
            self._progress.update(self._bars[step], completed=done, total=total, text=text)
        elif done == total or time.monotonic() - self._last_plain.get(step, 0.0) > _PLAIN_PAUSE_S:
            self._last_plain[step] = time.monotonic()
            self.console.print(f"{step:<20} {done:,}/{total:,} {text}", highlight=False, markup=False)

    def _note(self, step: str, text: str) -> None:
        if (found := _ENDING.match(text)) and self.story.ending is None:
            self.story.ending = (found["outcome"], found["message"])
        elif not _ENDING.match(text):
            self.console.print(f"{step:<20} {text}", highlight=False, markup=False)
