"""Rules, runbook and generated_files files are consistent; alerts fire when they should and only then."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

from monitoring.alerting.generate import generated_files
from monitoring.alerting.rules import prometheus_rule, rule_groups
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS, PREFIX

ROOT = Path(__file__).parents[3]
CASES = Path(__file__).parent / "alerts.yaml"
RULES = "monitoring/alerting/rules.yaml"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def rules() -> list[dict[str, Any]]:
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def alerts() -> set[str]:
    return {rule["alert"] for rule in rules() if "alert" in rule}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=CASES.parent, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", generated_files(), ids=str)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text() == generated_files()[path], "run python -m monitoring.alerting.generate"


def test_the_plain_rules_and_the_prometheus_rule_are_the_same() -> None:
    assert prometheus_rule()["spec"] == rule_groups()


def test_every_alert_has_a_severity_a_summary_and_a_runbook_entry() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "monitoring" / "alerting" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["runbook"] == f"monitoring/alerting/runbook.md#{rule['alert'].lower()}"


def test_rules_use_only_exported_metrics() -> None:
    import serving.metrics  # noqa: F401 (registers the server's metrics)

    server_metrics = {
        sample
        for family in prometheus_client.REGISTRY.collect()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    monitor_metrics = {f"{PREFIX}_{metric.name}" for metric in (*MODEL_METRICS, *MONITOR_METRICS)}
    recording_rules = {rule["record"] for rule in rules() if "record" in rule}
    names = {name for rule in rules() for name in re.findall(r"taxonflow[a-z0-9_:]+", rule["expr"])}
    assert names
    assert names <= server_metrics | monitor_metrics | recording_rules


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    outcomes: defaultdict[str, set[bool]] = defaultdict(set)
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            outcomes[check["alertname"]].add(bool(check["exp_alerts"]))
    assert {name for name in alerts() if outcomes[name] != {True, False}} == set()


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    process = promtool(
        "check", "rules", "--lint=all", "--lint-fatal", str(ROOT / "monitoring" / "alerting" / "rules.yaml")
    )
    assert process.returncode == 0, process.stderr


@needs_promtool
def test_alerts_fire_in_their_firing_cases_only() -> None:
    process = promtool("test", "rules", CASES.name)
    assert process.returncode == 0, process.stdout + process.stderr
