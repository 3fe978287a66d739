"""The pipeline step itself."""

from pathlib import Path

import pytest
from kfp import dsl

from components.ingest.component import ingest
from components.shared.slices import read_info


def _run(volumes: Path, folder: Path, **changes: object) -> dsl.Metrics:
    metrics = dsl.Metrics(uri=str(folder / "metrics"))
    parameters = {"image_size": 32, "slices_per_species": 15, "planes": "random", "seed": 0, **changes}
    ingest.python_func(
        volumes=str(volumes),
        slices=dsl.Dataset(uri=str(folder / "slices")),
        metrics=metrics,
        contact_sheet=dsl.HTML(uri=str(folder / "sheet.html")),
        **parameters,
    )
    return metrics


def test_the_step_writes_slices_metrics_and_a_page(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = _run(phantoms, tmp_path)
    assert metrics.metadata == {"slices": 45, "specimens": 15, "classes": 3, "refused": 0, "near_copies": 0}
    assert read_info(tmp_path / "slices").classes == ("Elphidiella", "Lockhartia", "Orbitoides")
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("data:image/png;base64,") == 15
    assert "http" not in page
    assert "[ingest] 15/15 specimens" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"planes": "diagonal"}, {"image_size": 1}])
def test_a_bad_parameter_ends_with_exit_code_2(phantoms: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(phantoms, tmp_path, **changes)
    assert stop.value.code == 2


def test_missing_volumes_end_with_exit_code_2_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(tmp_path / "nowhere", tmp_path)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] bad_input: ")
    assert "does not exist" in line
    assert not (tmp_path / "slices").exists()
