"""Input that the demonstration rejects; `tests/test_readme.py` runs the whole demonstration."""

from pathlib import Path

import pytest

from components.shared.errors import EXIT_BAD_INPUT
from pipelines.local.demo import main
from pipelines.local.demo_traffic import PHASES
from tests.serving.conftest import card_of

ROOT = Path(__file__).parents[3]
WINDOWS = sum(phase.windows for phase in PHASES)


def test_a_model_of_other_species_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, ("quartz", "feldspar"))
    assert main(["--out", str(tmp_path), "--no-keep-running"]) == EXIT_BAD_INPUT
    output = " ".join(capsys.readouterr().out.split())
    assert "species feldspar, quartz" in output
    assert "Set OUT to another folder." in output


@pytest.mark.parametrize("slices", ["100", "6"])
def test_windows_that_cannot_be_filled_evenly_are_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slices: str
) -> None:
    publish(tmp_path, ("Fallotia", "Orbitoides"))
    sizes = ["--window-slices", slices, "--window-specimens", "12"]
    assert main([*sizes, "--out", str(tmp_path), "--no-keep-running"]) == EXIT_BAD_INPUT
    assert "a multiple of 12" in " ".join(capsys.readouterr().out.split())


def publish(out: Path, classes: tuple[str, ...]) -> None:
    folder = out / "models" / "forams" / "1"
    folder.mkdir(parents=True)
    card_of("forams", classes=classes).write(folder / "model.json")
