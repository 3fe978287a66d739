"""Grafana's dashboards ask only for what is exported, are laid out whole, and reach the cluster as they are."""

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
from monitoring.alerting.dashboards.catalogue import BOARDS, DRIFT, IMAGE_QUALITY, PREDICTIONS
from monitoring.alerting.dashboards.panels import Board, Chart, Query, lines
from monitoring.alerting.generate import CONFIG_MAPS, DASHBOARDS
from monitoring.alerting.rules import rule_groups
from monitoring.drift.features import ANSWERS, CONTRASTS, FEATURES, REASONS
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS, PREFIX

ROOT = Path(__file__).parents[2]
OF_EVERY_SERIES = {"instance", "job", "pod"}

boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def exported() -> dict[str, set[str]]:
    """Labels of every metric that can be asked for, by its name."""
    import serving.metrics as telemetry

    found = {f"{PREFIX}_{each.name}": {"model", *each.labels} for each in MODEL_METRICS}
    found |= {f"{PREFIX}_{each.name}": set(each.labels) for each in MONITOR_METRICS}
    for metric in vars(telemetry).values():
        if isinstance(metric, prometheus_client.Counter):
            found[f"{metric._name}_total"] = set(metric._labelnames)
        elif isinstance(metric, prometheus_client.Histogram):
            found[f"{metric._name}_bucket"] = {*metric._labelnames, "le"}
        elif isinstance(metric, prometheus_client.Gauge):
            found[metric._name] = set(metric._labelnames)
    recorded = {
        rule["record"]: {"model"} for group in rule_groups()["groups"] for rule in group["rules"] if "record" in rule
    }
    return {**found, **recorded, "ALERTS": {"alertname", "alertstate"}}


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """All metrics in an expression, however deep."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (below := getattr(node, name, None)) is not None:
            yield from selectors(below)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def faults(query: str, known: dict[str, set[str]]) -> list[str]:
    """What is wrong with a query: metrics or labels that nobody exports."""
    found = list(selectors(promql_parser.parse(query)))
    wrong = [] if found else [f"{query} asks for nothing"]
    for selector in found:
        if selector.name not in known:
            wrong.append(f"{selector.name} is not exported")
            continue
        foreign = {matcher.name for matcher in selector.matchers.matchers} - known[selector.name]
        wrong += [f"{selector.name} has no label {label}" for label in sorted(foreign)]
    return wrong


def asked(board: Board) -> list[Query]:
    return [query for chart in board.charts for query in chart.queries]


@boards
def test_every_query_parses_and_asks_for_exported_metrics_and_their_labels(board: Board) -> None:
    known = exported()
    assert [fault for query in asked(board) for fault in faults(query.expr, known)] == []


@boards
def test_every_legend_names_labels_that_its_series_have(board: Board) -> None:
    known = exported()
    for query in asked(board):
        metrics = [known[selector.name] for selector in selectors(promql_parser.parse(query.expr))]
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= set.union(*metrics) | OF_EVERY_SERIES, query


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(rate(taxonflow_nothing_total[5m]))", "taxonflow_nothing_total is not exported"),
        ('taxonflow_drift_state{feature="noise"}', "taxonflow_drift_state has no label feature"),
        ("1 - (time() - vector(1)) > 3", "asks for nothing"),
        ("max(clamp_min(taxonflow_drift_nothing, 1))", "taxonflow_drift_nothing is not exported"),
    ],
)
def test_a_query_for_what_nobody_exports_would_be_found(query: str, fault: str) -> None:
    assert fault in faults(query, exported())[0]


def test_every_metric_of_the_monitor_is_on_a_dashboard() -> None:
    shown = {
        selector.name
        for board in BOARDS
        for query in asked(board)
        for selector in selectors(promql_parser.parse(query.expr))
    }
    lacking = {f"{PREFIX}_{each.name}" for each in (*MODEL_METRICS, *MONITOR_METRICS)} - shown
    assert lacking == {f"{PREFIX}_detected"}  # drifted_features says more


def test_every_feature_has_a_reason_to_drift_and_is_shown_a_descriptor_by_itself() -> None:
    assert {feature.group for feature in FEATURES.values()} == set(REASONS)
    titles = {chart.title for chart in IMAGE_QUALITY.charts}
    assert {name.replace("_", " ") for name in (*GREY_FEATURES, *COLOUR_FEATURES)} <= titles
    shown = {name for query in asked(PREDICTIONS) for name in re.findall(r"\w+", query.expr)}
    assert {*ANSWERS, *CONTRASTS} <= shown


@boards
def test_panels_have_numbers_of_their_own_fill_the_grid_and_never_overlap(board: Board) -> None:
    made = json.loads(board.to_json())
    panels = made["panels"]
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
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "model"]


def test_dashboards_have_addresses_of_their_own_and_are_the_files_of_their_folder() -> None:
    assert len({json.loads(board.to_json())["uid"] for board in BOARDS}) == len(BOARDS) == 5
    assert {path.stem for path in (ROOT / DASHBOARDS).glob("*.json")} == {board.name for board in BOARDS}


def test_the_config_maps_hold_the_same_dashboards_and_fit_into_kubectls_annotation() -> None:
    maps = list(yaml.safe_load_all((ROOT / CONFIG_MAPS).read_text()))
    assert len(maps) == len(BOARDS)
    for board, made in zip(BOARDS, maps, strict=True):
        assert made["metadata"]["labels"] == {"grafana_dashboard": "1"}
        ((name, text),) = made["data"].items()
        assert name == f"taxonflow-{board.name}.json"
        assert json.loads(text) == json.loads((ROOT / DASHBOARDS / f"{board.name}.json").read_text())
        assert len(json.dumps(made)) < 262_144


def test_a_limit_is_drawn_and_turns_what_is_above_red() -> None:
    chart = Chart("One", "Text.", (Query("up", "up"),), lines, limit=3)
    defaults = json.loads(Board("one", "One", "Text.", {"Row": (chart,)}).to_json())["panels"][1]["fieldConfig"][
        "defaults"
    ]
    assert defaults["thresholds"]["steps"][-1] == {"color": "red", "value": 3}
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert any(chart.limit for chart in DRIFT.charts)
