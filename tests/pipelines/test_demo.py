"""What the demonstration refuses; `tests/test_readme.py` types it to its end."""

from pathlib import Path

import pytest

from components.shared.errors import EXIT_BAD_INPUT
from pipelines.local.demo import main
from pipelines.local.demo_traffic import ACTS
from tests.serving.conftest import card_of

ROOT = Path(__file__).parents[2]
WINDOWS = sum(act.windows for act in ACTS)


def test_a_model_of_other_species_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, ("quartz", "feldspar"))
    assert main(["--out", str(tmp_path), "--no-stay"]) == EXIT_BAD_INPUT
    said = " ".join(capsys.readouterr().out.split())
    assert "forams knows feldspar, quartz" in said
    assert "Give another OUT." in said


@pytest.mark.parametrize("slices", ["100", "6"])
def test_windows_that_cannot_be_filled_evenly_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slices: str
) -> None:
    publish(tmp_path, ("Fallotia", "Orbitoides"))
    sizes = ["--window-slices", slices, "--window-specimens", "12"]
    assert main([*sizes, "--out", str(tmp_path), "--no-stay"]) == EXIT_BAD_INPUT
    assert "a multiple of 12" in " ".join(capsys.readouterr().out.split())


def publish(out: Path, classes: tuple[str, ...]) -> None:
    folder = out / "models" / "forams" / "1"
    folder.mkdir(parents=True)
    card_of("forams", classes=classes).write(folder / "model.json")
