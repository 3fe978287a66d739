"""Rules, runbook, metrics table and manifests say the same; alerts fire when they should and only then."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

from monitoring.alerting.generate import generated
from monitoring.alerting.rules import prometheus_rule, rule_groups
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS, PREFIX

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "alerts.yaml"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def rules() -> list[dict[str, Any]]:
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def alerts() -> set[str]:
    return {rule["alert"] for rule in rules() if "alert" in rule}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=CASES.parent, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", generated(), ids=str)
def test_a_made_file_is_up_to_date(path: Path) -> None:
    assert (ROOT / path).read_text() == generated()[path], "run python -m monitoring.alerting.generate"


def test_the_plain_rules_and_the_prometheus_rule_are_the_same() -> None:
    assert prometheus_rule()["spec"] == rule_groups()


def test_every_alert_has_a_severity_a_summary_and_a_runbook_entry() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "monitoring" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["runbook"] == f"monitoring/alerting/runbook.md#{rule['alert'].lower()}"


def test_rules_ask_only_for_metrics_that_exist() -> None:
    import serving.metrics  # noqa: F401 (registers the server's metrics)

    of_server = {
        sample
        for family in prometheus_client.REGISTRY.collect()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    exported = {f"{PREFIX}_{metric.name}" for metric in (*MODEL_METRICS, *MONITOR_METRICS)} | of_server
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for rule in rules() for name in re.findall(r"taxonflow[a-z0-9_:]+", rule["expr"])}
    assert asked
    assert asked <= exported | recorded


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    fired: defaultdict[str, set[bool]] = defaultdict(set)
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            fired[check["alertname"]].add(bool(check["exp_alerts"]))
    lacking = {name for name in alerts() if fired[name] != {True, False}}
    assert lacking == set()


@needs_promtool
def test_promtool_finds_no_fault_in_the_rules() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(ROOT / "monitoring" / "rules.yaml"))
    assert checked.returncode == 0, checked.stderr


@needs_promtool
def test_alerts_fire_and_keep_silent_as_promtool_expects() -> None:
    tested = promtool("test", "rules", CASES.name)
    assert tested.returncode == 0, tested.stdout + tested.stderr
