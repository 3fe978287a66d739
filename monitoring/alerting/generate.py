"""Writes what is made from the code: `python -m monitoring.alerting.generate`, from the root of the repository."""

import sys
from pathlib import Path
from typing import Any

import yaml

from components.shared.files import write_atomically
from monitoring.alerting.dashboards.catalogue import BOARDS
from monitoring.alerting.rules import prometheus_rule, rule_groups
from monitoring.drift.features import FEATURES, REASONS, by_group
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS, PREFIX

NOTE = "made by python -m monitoring.alerting.generate"
DASHBOARDS, CONFIG_MAPS = (
    Path("monitoring/alerting/dashboards"),
    Path("manifests/components/dashboards/config-maps.yaml"),
)


def generated() -> dict[Path, str]:
    """Returns the content of each made file by its path in the repository."""
    return {
        Path("monitoring/alerting/rules.yaml"): _yaml(rule_groups()),
        Path("manifests/components/alerts/prometheus-rule.yaml"): _yaml(prometheus_rule()),
        Path("monitoring/alerting/metrics.md"): metrics_page(),
        CONFIG_MAPS: f"# {NOTE}\n" + yaml.safe_dump_all(dashboard_config_maps(), sort_keys=False, width=10**6),
        **{DASHBOARDS / f"{board.name}.json": board.to_json() + "\n" for board in BOARDS},
    }


def dashboard_config_maps() -> list[dict[str, Any]]:
    """Returns a ConfigMap for each dashboard, with the label that Grafana's sidecar looks for.

    One for all would be larger than what kubectl can keep of a resource in its annotation.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"taxonflow-dashboard-{board.name}", "labels": {"grafana_dashboard": "1"}},
            "data": {f"taxonflow-{board.name}.json": board.to_json(indent=None)},
        }
        for board in BOARDS
    ]


def metrics_page() -> str:
    """Returns the monitor's metrics and features as Markdown tables."""
    rows = [
        *((each.name, "gauge", ("model", *each.labels), each.help) for each in MODEL_METRICS),
        *(
            (own.name, "counter" if own.name.endswith("_total") else "gauge", own.labels, own.help)
            for own in MONITOR_METRICS
        ),
    ]
    lines = [f"| `{PREFIX}_{name}` | {kind} | {', '.join(labels)} | {text} |" for name, kind, labels, text in rows]
    head = ["# Metrics of the monitor", "", f"<!-- {NOTE} -->", "", "| metric | type | labels | meaning |"]
    return "\n".join([*head, "|---|---|---|---|", *lines, "", *_features_table(), ""])


def _features_table() -> list[str]:
    rows = [
        f"| {group} | `{name}` | {FEATURES[name].meaning} | {REASONS[group]} |"
        for group, names in by_group(FEATURES).items()
        for name in names
    ]
    said = "Values of the label `feature`; slices in grey have no colour, and not every model gives embeddings."
    head = "| group | feature | what it says of a slice | usual reason to drift |"
    return ["# Features", "", said, "", head, "|---|---|---|---|", *rows]


def _yaml(content: dict[str, Any]) -> str:
    return f"# {NOTE}\n" + yaml.safe_dump(content, sort_keys=False, width=120)


def main() -> int:
    """Writes every made file."""
    for path, content in generated().items():
        write_atomically(path, content.encode())
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
