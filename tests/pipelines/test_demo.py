"""`make demo`, typed as a person types it, on a model that it has to train first."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.errors import EXIT_BAD_INPUT
from monitoring.results import WindowResult
from pipelines.demo import ALERT, main
from pipelines.demo_traffic import ACTS
from tests.serving.conftest import card_of

ROOT = Path(__file__).parents[2]
WINDOWS = sum(act.windows for act in ACTS)


@pytest.mark.slow
def test_the_demonstration_alerts_on_the_artefact_and_on_the_unseen_species_and_on_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.demo", "--preset", "smoke", "--out", str(tmp_path), "--no-stay"]
    wide = {**os.environ, "COLUMNS": "200"}
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=wide)
    assert "Traceback" not in shown.stdout + shown.stderr
    assert "holds no model yet: first a run of the preset smoke" in shown.stdout
    (folder,) = (tmp_path / "demo").iterdir()
    results = {int(path.stem[-6:]): WindowResult.read(path) for path in (folder / "monitoring").glob("window-*.json")}
    assert sorted(results) == list(range(1, WINDOWS + 1))
    said = re.findall(r"^window (\d+): .*: (no drift|DRIFT)", shown.stdout, re.MULTILINE)
    assert [(int(number), words == "DRIFT") for number, words in said] == [
        (number, bool(results[number].drifted)) for number in sorted(results)
    ]
    rows = [row for act in ACTS for row in shown.stdout.splitlines() if row.startswith(f"│ {act.name}")]
    expected = ["silence" if not act.alert else "alert" for act in ACTS]
    assert [row.split("│")[2].strip() for row in rows] == expected
    assert all("as expected" in row and "NOT" not in row for row in rows)
    if "Prometheus is not" not in shown.stdout:
        assert ALERT in shown.stdout
        assert [row.split("│")[4].strip() for row in rows] == ["firing" if act.alert else "silent" for act in ACTS]
    assert shown.returncode == 0, shown.stdout
    assert len(list((folder / "monitoring" / "workspace").glob("*/snapshots/*.json"))) == WINDOWS


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
