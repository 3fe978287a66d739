"""Bodies of the KFP components, with real artifacts."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.deploy.component import deploy as deploy_component
from components.deploy.component import outcome, require_served
from components.deploy.target_address import resolve_target
from components.shared.contracts import ModelCard
from components.shared.errors import BadConfigError
from tests.deploy.slices import write_slices


def outputs(folder: Path) -> tuple[dsl.Metrics, dsl.Markdown]:
    return dsl.Metrics(uri=str(folder / "metrics")), dsl.Markdown(uri=str(folder / "deployed.md"))


PASSED = {"gate_passed": True, "reasons": "", "registry": "", "monitored_models": ""}


def test_deploy_reports_version_and_address(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics, report = outputs(tmp_path)
    version, model_id, address, result, canary, sentence = deploy_component.python_func(
        served=dsl.Model(uri=str(artifact)),
        slices=dsl.Dataset(uri=str(tmp_path / "slices")),
        name="foraminifera",
        target=(tmp_path / "models").as_uri(),
        canary={"percent": 10.0},
        metrics=metrics,
        report=report,
        **PASSED,
    )
    assert (result, canary) == ("deployed", "no trial")
    assert sentence.startswith("The new model passed the gate, and version 1")
    assert model_id == ModelCard.read(artifact / "1" / "model.json").model_id
    assert "foraminifera version 1 is at" in Path(report.path).read_text()
    assert (version, address) == (1, (tmp_path / "models/foraminifera/1").as_uri())
    assert metrics.metadata["version"] == 1
    assert f"[deploy] {sentence}" in capsys.readouterr().out


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
            **PASSED,
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
    version, _, address, result, trial, sentence = deploy_component.python_func(
        served=model,
        slices=dsl.Dataset(uri=str(data)),
        name="foraminifera",
        target="kserve://lab/forams",
        canary={"pairs": 60, "slower": 1000, "predictor": f"{cluster.address}/{{namespace}}/{{service}}"},
        metrics=metrics,
        report=report,
        **PASSED,
    )
    assert (version, result) == (1, "rolled_back")
    assert re.match(r"rolled back \(\d+ pairs of known slices\): errors: the canary did worse", trial)
    assert sentence.startswith("The new model passed the gate but was rolled back, and version 1")
    assert address.startswith("http://forams-lab")
    assert metrics.metadata["outcome"] == "rolled_back"
    assert metrics.metadata["errors_worse"] > metrics.metadata["errors_better"]
    assert "version 2 was rolled back: errors: the canary did worse" in Path(report.path).read_text()
    assert "| `agreement` | " in Path(report.path).read_text()
    assert "# Deployment of foraminifera: rolled back" in Path(report.path).read_text()
    assert f"[deploy] {sentence}\n" in capsys.readouterr().out


def test_deploy_leaves_the_endpoint_of_a_rejected_model_and_succeeds(tmp_path: Path) -> None:
    metrics, report = outputs(tmp_path)
    version, _, address, result, _, sentence = deploy_component.python_func(
        served=dsl.Model(uri=str(tmp_path / "nothing")),
        slices=dsl.Dataset(uri=str(tmp_path / "slices")),
        name="foraminifera",
        target=(tmp_path / "models").as_uri(),
        canary={},
        metrics=metrics,
        report=report,
        **{**PASSED, "gate_passed": False, "reasons": "Accuracy 0.50 is below 0.95."},
    )
    assert (version, address, result) == (0, "", "refused")
    assert "the gate rejected the new model" in sentence
    assert sentence.endswith("Accuracy 0.50 is below 0.95.")
    assert "Accuracy 0.50 is below 0.95." in Path(report.path).read_text()
    assert not (tmp_path / "models").exists()


def rejected(tmp_path: Path, target: str) -> tuple[int, str, str]:
    """Run the step deploy for a model that the gate rejected; return version, model id and address."""
    metrics, report = outputs(tmp_path)
    version, model_id, address, *_ = deploy_component.python_func(
        served=dsl.Model(uri=str(tmp_path / "nothing")),
        slices=dsl.Dataset(uri=str(tmp_path / "slices")),
        name="foraminifera",
        target=target,
        canary={},
        metrics=metrics,
        report=report,
        **{**PASSED, "gate_passed": False, "reasons": "Accuracy 0.50 is below 0.95."},
    )
    return version, model_id, address


def test_a_rejected_run_names_the_model_that_is_served(
    make_artifact: Callable[..., Path], tmp_path: Path, cluster: Any, deploy: Any
) -> None:
    cluster.model_ids = {"pvc://runs/a": "1" * 64}
    before = rejected(tmp_path, "kserve://lab/forams")
    result = deploy(make_artifact("a", model_id="1" * 64), "pvc://runs/a")
    writes = len(cluster.written())
    assert before == (0, "", "")
    assert rejected(tmp_path, "kserve://lab/forams") == (1, "1" * 64, result.address)
    assert len(cluster.written()) == writes


@pytest.mark.usefixtures("unreachable_cluster")
@pytest.mark.parametrize("target", ["kserve://lab/forams", "", "nonsense"])
def test_a_rejected_run_ends_where_the_cluster_does_not_answer(tmp_path: Path, target: str) -> None:
    assert rejected(tmp_path, target) == (0, "", "")


def test_the_outcome_shows_gate_canary_version_address_and_model_id(tmp_path: Path) -> None:
    metrics, summary = dsl.Metrics(uri=str(tmp_path / "metrics")), dsl.Markdown(uri=str(tmp_path / "outcome.md"))
    outcome.python_func(
        name="foraminifera",
        model_id="c0ffee",
        accuracy=0.971,
        interval="95.2% to 98.3%",
        threshold=0.95,
        outcome="deployed",
        sentence="foraminifera: version 2 is served at http://forams.",
        version=2,
        served_model_id="c0ffee",
        address="http://forams",
        canary="promoted after 2,000 pairs of known slices",
        metrics=metrics,
        summary=summary,
    )
    text = Path(summary.path).read_text()
    for row in (
        "| gate | passed, slice accuracy 97.1% (95.0% required) |",
        "| 95 % interval | 95.2% to 98.3% (over specimens) |",
        "| canary | promoted after 2,000 pairs of known slices |",
        "| served now | version 2, model `c0ffee` |",
        "| address | `http://forams` |",
        "| new model | `c0ffee` |",
    ):
        assert row in text
    assert metrics.metadata == {"accuracy": 0.971, "gate_passed": 1.0, "served": 1.0, "served_version": 2}


@pytest.mark.parametrize("result", ["rolled_back", "refused"])
def test_a_run_without_a_served_model_fails_in_one_sentence(result: str, capsys: pytest.CaptureFixture[str]) -> None:
    require_served.python_func(outcome="deployed", sentence="")
    with pytest.raises(SystemExit) as exit_info:
        require_served.python_func(outcome=result, sentence="foraminifera: it is not served.")
    assert exit_info.value.code == 1
    assert capsys.readouterr().out == "[require_served] failed: foraminifera: it is not served.\n"


def test_an_empty_target_is_the_service_of_the_models_name(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("lab\n")
    assert resolve_target("", "fish", tmp_path / "namespace") == "kserve://lab/fish"
    assert resolve_target("file:///models", "fish", tmp_path / "namespace") == "file:///models"
    with pytest.raises(BadConfigError, match="not in a pod"):
        resolve_target("", "fish", tmp_path / "missing")
