"""The KFP components by their bodies, with real artifacts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.deploy.canary.known_slices import sample_of_test_slices
from components.deploy.canary.settings import read_settings
from components.deploy.component import deploy as deploy_component
from components.deploy.component import refuse
from components.shared.contracts import SlicesInfo
from components.shared.errors import BadConfigError


def outputs(folder: Path) -> tuple[dsl.Metrics, dsl.Markdown]:
    return dsl.Metrics(uri=str(folder / "metrics")), dsl.Markdown(uri=str(folder / "deployed.md"))


def test_deploy_reports_version_and_address(served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics, report = outputs(tmp_path)
    version, address, outcome = deploy_component.python_func(
        served=dsl.Model(uri=str(served)),
        slices=dsl.Dataset(uri=str(tmp_path / "slices")),
        name="foraminifera",
        target=(tmp_path / "models").as_uri(),
        canary={"percent": 10.0},
        metrics=metrics,
        report=report,
    )
    assert outcome == "deployed"
    assert "foraminifera version 1 is at" in Path(report.path).read_text()
    assert (version, address) == (1, (tmp_path / "models/foraminifera/1").as_uri())
    assert metrics.metadata["version"] == 1
    assert f"foraminifera version 1 is at {address}" in capsys.readouterr().out


def test_deploy_ends_a_refused_model_with_one_sentence(
    make_served: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        deploy_component.python_func(
            served=dsl.Model(uri=str(make_served("bad", passed=False))),
            slices=dsl.Dataset(uri=str(tmp_path / "slices")),
            name="foraminifera",
            target=(tmp_path / "models").as_uri(),
            canary={},
            **dict(zip(("metrics", "report"), outputs(tmp_path), strict=True)),
        )
    assert raised.value.code == 1
    assert capsys.readouterr().out.startswith("[deploy] failed: the gate refused 'foraminifera'")


@pytest.mark.parametrize(
    ("canary", "complaint"),
    [
        ({"percent": 60}, "'percent' with value 60: expected less than or equal to 50"),
        ({"share": 5}, "'share': expected one of percent"),
        ({"predictor": "http://same"}, "no address like"),
        ({"predictor": "http://{pod}"}, "other places than"),
        ({"predictor": "http://{service}:port"}, "no address like"),
        ({"prometheus": "http://prometheus:port"}, "no address like"),
        ({"prometheus": "prometheus:9090"}, "no address like"),
    ],
)
def test_a_canary_that_makes_no_sense_is_bad_input(canary: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadConfigError, match=complaint):
        read_settings(canary)


def test_a_worse_model_ends_the_run_with_the_reasons_and_the_old_model_served(
    served: Path, tmp_path: Path, cluster: Any, deploy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(served, "s3://runs/a")
    cluster.failing["s3://runs/b"] = 0.5
    cluster.polls_until_ready = 1
    data = write_slices(tmp_path / "slices", 40)
    metrics, report = outputs(tmp_path)
    artifact = dsl.Model(uri="s3://runs/b")
    artifact.custom_path = str(served)
    version, _, outcome = deploy_component.python_func(
        served=artifact,
        slices=dsl.Dataset(uri=str(data)),
        name="foraminifera",
        target="kserve://lab/forams",
        canary={"pairs": 60, "slower": 1000, "predictor": f"{cluster.address}/{{namespace}}/{{service}}"},
        metrics=metrics,
        report=report,
    )
    assert (version, outcome) == (1, "rolled_back")
    assert metrics.metadata["outcome"] == "rolled_back"
    assert metrics.metadata["errors_worse"] > metrics.metadata["errors_better"]
    assert "version 2 was rolled back: errors: the canary did worse" in Path(report.path).read_text()
    assert "| agreement | " in Path(report.path).read_text()
    assert "[deploy] rolled_back: foraminifera version 1 is at http://forams-lab" in capsys.readouterr().out


def write_slices(folder: Path, count: int) -> Path:
    from components.shared.slices import Slice, SlicesWriter

    folder.mkdir()
    info = SlicesInfo(
        classes=("Alveolina", "Orbitoides"),
        image_size=8,
        channels=1,
        counts=(),
        seed=0,
        preprocessing={},
        sources_hash="",
    )
    with SlicesWriter(folder, info.classes) as writer:
        for number in range(count):
            writer.add(Slice(f"x/{number}", "Alveolina", "x", "test", "axial", 0.5, 1.0, {}, b"png %d" % number))
        writer.finish(info)
    return folder


def test_known_slices_are_drawn_at_random_and_none_twice(tmp_path: Path) -> None:
    data = write_slices(tmp_path / "slices", 50)
    drawn = [known.id for known in sample_of_test_slices(data, 20)]
    assert len(set(drawn)) == 20
    assert drawn != [f"x/{number}" for number in range(20)]
    assert len(sample_of_test_slices(data, 100)) == 50
    assert [known.id for known in sample_of_test_slices(data, 20)] == drawn


def test_refuse_writes_the_reasons_into_the_report_and_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = dsl.Markdown(uri=str(tmp_path / "report.md"))
    refuse.python_func(reasons="accuracy 0.50 is below 0.95\nspecies Minoxia has recall 0", report=report)
    assert "- accuracy 0.50 is below 0.95\n- species Minoxia has recall 0" in Path(report.path).read_text()
    assert "[refuse] species Minoxia has recall 0\n" in capsys.readouterr().out
