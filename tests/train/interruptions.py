"""Interruptions of trainings: an error that no package catches, and the end of the process."""

import subprocess
import sys
import time
from pathlib import Path

from components.train.recipe import Recipe

ROOT = Path(__file__).parents[2]
_SCRIPT = """
import sys
from pathlib import Path
from components.train.recipe import Recipe
from components.train.training import train_backbone
recipe = Recipe.model_validate_json(sys.argv[3])
train_backbone(Path(sys.argv[1]), sys.argv[2], recipe, 5, Path(sys.argv[4]))
"""


class PowerCutError(Exception):
    """Ends a training; no except clause of the package catches it."""


def training_command(slices: Path, backbone: str, recipe: Recipe, folder: Path) -> list[str]:
    """Return the command of a training with seed 5 in a process of its own."""
    return [sys.executable, "-c", _SCRIPT, str(slices), backbone, recipe.model_dump_json(), str(folder)]


def run_training(command: list[str]) -> None:
    """Run a training to its end."""
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)


def kill_after_progress(command: list[str], unit: str, delay_s: float) -> None:
    """Start a training and kill it shortly after it reports progress in a unit, or when it ends."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("[train") and unit in line for line in process.stdout)
        time.sleep(delay_s)
        process.kill()
