"""Dashboards use only exported metrics, fill the grid, and are the ones in the ConfigMaps."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import promql_parser
import pytest
import yaml

from components.shared.images.descriptors import COLOUR_FEATURES, GREY_FEATURES
from monitoring.alerting.dashboards.catalogue import DASHBOARDS, DRIFT, IMAGE_QUALITY, PREDICTIONS
from monitoring.alerting.dashboards.panels import Chart, Dashboard, Query, lines
from monitoring.alerting.generate import CONFIG_MAPS, DASHBOARD_FOLDER
from monitoring.alerting.rules import rule_groups
from monitoring.drift.features import FEATURES, PREDICTION_FEATURES, REASONS, WINDOW_FEATURES
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS, PREFIX

ROOT = Path(__file__).parents[3]
COMMON_LABELS = {"instance", "job", "pod"}

each_dashboard = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)


def exported() -> dict[str, set[str]]:
    """Return the labels of every exported or recorded metric, by its name."""
    import serving.metrics as telemetry

    labels = {f"{PREFIX}_{each.name}": {"model", *each.labels} for each in MODEL_METRICS}
    labels |= {f"{PREFIX}_{each.name}": set(each.labels) for each in MONITOR_METRICS}
    for metric in vars(telemetry).values():
        if isinstance(metric, prometheus_client.Counter):
            labels[f"{metric._name}_total"] = set(metric._labelnames)
        elif isinstance(metric, prometheus_client.Histogram):
            labels[f"{metric._name}_bucket"] = {*metric._labelnames, "le"}
        elif isinstance(metric, prometheus_client.Gauge):
            labels[metric._name] = set(metric._labelnames)
    recording_rules = {
        rule["record"]: {"model"} for group in rule_groups()["groups"] for rule in group["rules"] if "record" in rule
    }
    return {**labels, **recording_rules, "ALERTS": {"alertname", "alertstate"}}


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Yield all metrics in an expression, recursively."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (below := getattr(node, name, None)) is not None:
            yield from selectors(below)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def query_errors(query: str, labels: dict[str, set[str]]) -> list[str]:
    """Return the metrics and labels in a query that are not exported."""
    metrics = list(selectors(promql_parser.parse(query)))
    errors = [] if metrics else [f"{query} selects no metric"]
    for selector in metrics:
        if selector.name not in labels:
            errors.append(f"{selector.name} is not exported")
            continue
        unknown_labels = {matcher.name for matcher in selector.matchers.matchers} - labels[selector.name]
        errors += [f"{selector.name} has no label {label}" for label in sorted(unknown_labels)]
    return errors


def queries_of(board: Dashboard) -> list[Query]:
    return [query for chart in board.charts for query in chart.queries]


@each_dashboard
def test_every_query_uses_exported_metrics_and_labels(board: Dashboard) -> None:
    labels = exported()
    assert [error for query in queries_of(board) for error in query_errors(query.expr, labels)] == []


@each_dashboard
def test_every_legend_uses_labels_of_its_series(board: Dashboard) -> None:
    labels = exported()
    for query in queries_of(board):
        metrics = [labels[selector.name] for selector in selectors(promql_parser.parse(query.expr))]
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= set.union(*metrics) | COMMON_LABELS, query


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("sum(rate(taxonflow_nothing_total[5m]))", "taxonflow_nothing_total is not exported"),
        ('taxonflow_drift_state{feature="noise"}', "taxonflow_drift_state has no label feature"),
        ("1 - (time() - vector(1)) > 3", "selects no metric"),
        ("max(clamp_min(taxonflow_drift_nothing, 1))", "taxonflow_drift_nothing is not exported"),
    ],
)
def test_a_query_for_an_unknown_metric_is_an_error(query: str, error: str) -> None:
    assert error in query_errors(query, exported())[0]


def test_every_metric_of_the_monitor_is_on_a_dashboard() -> None:
    on_dashboards = {
        selector.name
        for board in DASHBOARDS
        for query in queries_of(board)
        for selector in selectors(promql_parser.parse(query.expr))
    }
    missing_metrics = {f"{PREFIX}_{each.name}" for each in (*MODEL_METRICS, *MONITOR_METRICS)} - on_dashboards
    assert missing_metrics == {f"{PREFIX}_detected"}  # drifted_features has more detail


def test_every_feature_has_a_cause_of_drift_and_a_panel() -> None:
    assert {feature.group for feature in FEATURES.values()} == set(REASONS)
    titles = {chart.title for chart in IMAGE_QUALITY.charts}
    assert {name.replace("_", " ") for name in (*GREY_FEATURES, *COLOUR_FEATURES)} <= titles
    names = {name for query in queries_of(PREDICTIONS) for name in re.findall(r"\w+", query.expr)}
    assert {*PREDICTION_FEATURES, *WINDOW_FEATURES} <= names


@each_dashboard
def test_panels_have_unique_ids_and_fill_the_grid_without_overlap(board: Dashboard) -> None:
    exported_json = json.loads(board.to_json())
    panels = exported_json["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(board.charts) + len(board.rows)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    assert all(panel["description"] and panel["targets"] for panel in panels if panel["type"] != "row")
    assert {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", [])} == {"${datasource}"}
    assert [variable["name"] for variable in exported_json["templating"]["list"]] == ["datasource", "model"]


def test_dashboards_have_unique_ids_and_one_file_each() -> None:
    assert len({json.loads(board.to_json())["uid"] for board in DASHBOARDS}) == len(DASHBOARDS) == 5
    assert {path.stem for path in (ROOT / DASHBOARD_FOLDER).glob("*.json")} == {board.name for board in DASHBOARDS}


def test_config_maps_have_the_dashboards_and_fit_into_an_annotation() -> None:
    maps = list(yaml.safe_load_all((ROOT / CONFIG_MAPS).read_text()))
    assert len(maps) == len(DASHBOARDS)
    for board, config_map in zip(DASHBOARDS, maps, strict=True):
        assert config_map["metadata"]["labels"] == {"grafana_dashboard": "1"}
        ((name, text),) = config_map["data"].items()
        assert name == f"taxonflow-{board.name}.json"
        assert json.loads(text) == json.loads((ROOT / DASHBOARD_FOLDER / f"{board.name}.json").read_text())
        assert len(json.dumps(config_map)) < 262_144


def test_a_limit_is_a_dashed_line_and_values_above_it_are_red() -> None:
    chart = Chart("One", "Text.", (Query("up", "up"),), lines, limit=3)
    defaults = json.loads(Dashboard("one", "One", "Text.", {"Row": (chart,)}).to_json())["panels"][1]["fieldConfig"][
        "defaults"
    ]
    assert defaults["thresholds"]["steps"][-1] == {"color": "red", "value": 3}
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert any(chart.limit for chart in DRIFT.charts)
