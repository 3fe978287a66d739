"""The three pipeline steps of ingest, called as functions."""

from pathlib import Path

import pytest
from kfp import dsl

from components.ingest.component import ingest, ingest_cut, ingest_plan
from components.shared.slices import read_info


def _run(volumes: Path, folder: Path, **changes: object) -> dsl.Metrics:
    """Run the three steps as the pipeline does."""
    parameters = {"image_size": 32, "slices_per_species": 15, "planes": "random", "seed": 0, "shards": 2, **changes}
    plan, metrics = dsl.Dataset(uri=str(folder / "plan")), dsl.Metrics(uri=str(folder / "metrics"))
    shards = []
    for shard in ingest_plan.python_func(volumes=str(volumes), plan=plan, **parameters):
        shards.append(dsl.Dataset(uri=str(folder / f"slice-files-{shard}")))
        ingest_cut.python_func(plan=plan, shard=shard, slice_files=shards[-1])
    ingest.python_func(
        plan=plan,
        slice_files=shards,
        slices=dsl.Dataset(uri=str(folder / "slices")),
        metrics=metrics,
        contact_sheet=dsl.HTML(uri=str(folder / "sheet.html")),
    )
    return metrics


def test_the_steps_write_slices_metrics_and_a_page(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = _run(phantoms, tmp_path)
    assert metrics.metadata == {"slices": 45, "specimens": 15, "classes": 3, "refused": 0, "near_copies": 0}
    assert read_info(tmp_path / "slices").classes == ("Elphidiella", "Lockhartia", "Orbitoides")
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("data:image/png;base64,") == 15
    assert "http" not in page
    assert page.count('aria-label="grey values"') == 3
    assert page.count('aria-label="slices of each species and split"') == 1
    assert "Refused files" in page
    output = capsys.readouterr().out
    assert "[ingest 1 of 2] 8/8 specimens" in output
    assert "[ingest 2 of 2] 7/7 specimens" in output
    assert "[ingest plan] 15/15 headers" in output
    assert "[ingest merge] 45/45 slices" in output


@pytest.mark.parametrize("changes", [{"planes": "diagonal"}, {"image_size": 1}, {"shards": 0}])
def test_a_bad_parameter_ends_with_exit_code_2(phantoms: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(phantoms, tmp_path, **changes)
    assert stop.value.code == 2


def test_missing_volumes_end_with_exit_code_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(tmp_path / "nowhere", tmp_path)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[ingest] bad_input: ")
    assert "does not exist" in line
    assert list(tmp_path.iterdir()) == []
