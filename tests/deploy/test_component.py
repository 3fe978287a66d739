"""Bodies of the KFP components, with real artifacts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.deploy.component import deploy as deploy_component
from components.deploy.component import refuse
from tests.deploy.slices import write_slices


def outputs(folder: Path) -> tuple[dsl.Metrics, dsl.Markdown]:
    return dsl.Metrics(uri=str(folder / "metrics")), dsl.Markdown(uri=str(folder / "deployed.md"))


def test_deploy_reports_version_and_address(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics, report = outputs(tmp_path)
    version, address, outcome = deploy_component.python_func(
        served=dsl.Model(uri=str(artifact)),
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


def test_deploy_reports_a_rejected_model_in_one_line(
    make_artifact: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        deploy_component.python_func(
            served=dsl.Model(uri=str(make_artifact("bad", gate_passed=False))),
            slices=dsl.Dataset(uri=str(tmp_path / "slices")),
            name="foraminifera",
            target=(tmp_path / "models").as_uri(),
            canary={},
            **dict(zip(("metrics", "report"), outputs(tmp_path), strict=True)),
        )
    assert exit_info.value.code == 1
    assert capsys.readouterr().out.startswith("[deploy] failed: the gate rejected 'foraminifera'")


def test_deploy_reports_a_rollback_and_succeeds(
    artifact: Path, tmp_path: Path, cluster: Any, deploy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(artifact, "pvc://runs/a")
    cluster.failing["pvc://runs/b"] = 0.5
    cluster.polls_until_ready = 1
    data = write_slices(tmp_path / "slices", 40)
    metrics, report = outputs(tmp_path)
    model = dsl.Model(uri="pvc://runs/b")
    model.custom_path = str(artifact)
    version, _, outcome = deploy_component.python_func(
        served=model,
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
    assert "| `agreement` | " in Path(report.path).read_text()
    assert "# Deployment of foraminifera: rolled back" in Path(report.path).read_text()
    assert "[deploy] rolled_back: foraminifera version 1 is at http://forams-lab" in capsys.readouterr().out


def test_refuse_writes_the_reasons_to_the_report_and_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = dsl.Markdown(uri=str(tmp_path / "report.md"))
    refuse.python_func(reasons="accuracy 0.50 is below 0.95\nspecies Minoxia has recall 0", report=report)
    assert "- accuracy 0.50 is below 0.95\n- species Minoxia has recall 0" in Path(report.path).read_text()
    assert "[refuse] species Minoxia has recall 0\n" in capsys.readouterr().out
