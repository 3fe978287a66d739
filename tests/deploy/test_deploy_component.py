"""The KFP components by their bodies, with real artifacts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kfp import dsl

from components.deploy.component import deploy, refuse


def test_deploy_reports_version_and_address(served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    version, address = deploy.python_func(
        served=dsl.Model(uri=str(served)),
        name="foraminifera",
        target=(tmp_path / "models").as_uri(),
        metrics=metrics,
    )
    assert (version, address) == (1, (tmp_path / "models/foraminifera/1").as_uri())
    assert metrics.metadata["version"] == 1
    assert f"foraminifera version 1 is at {address}" in capsys.readouterr().out


def test_deploy_ends_a_refused_model_with_one_sentence(
    make_served: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        deploy.python_func(
            served=dsl.Model(uri=str(make_served("bad", passed=False))),
            name="foraminifera",
            target=(tmp_path / "models").as_uri(),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
        )
    assert raised.value.code == 1
    assert capsys.readouterr().out.startswith("[deploy] failed: the gate refused 'foraminifera'")


def test_refuse_writes_the_reasons_into_the_report_and_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = dsl.Markdown(uri=str(tmp_path / "report.md"))
    refuse.python_func(reasons="accuracy 0.50 is below 0.95\nspecies Minoxia has recall 0", report=report)
    assert "- accuracy 0.50 is below 0.95\n- species Minoxia has recall 0" in Path(report.path).read_text()
    assert "[refuse] species Minoxia has recall 0\n" in capsys.readouterr().out
