"""How a chart becomes a panel of Grafana, and charts a dashboard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus as queries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)

TAG = "taxonflow"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
FULL, HALF, THIRD, QUARTER = 24, 12, 8, 6
_GREEN, _RED = "green", "red"


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and how its series are called: Grafana fills in `{{label}}`."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Chart:
    """A panel.

    Attributes:
        title: what it shows.
        text: how to read it; Grafana shows it at the title.
        queries: whose series it draws.
        draw: one of `lines`, `stack`, `number`, `bars`, `states`.
        unit: in Grafana's words, such as `percentunit` or `s`.
        limit: value from which on it is red; None knows no such value.
        span: width, of 24.
        height: in Grafana's rows.
    """

    title: str
    text: str
    queries: tuple[Query, ...]
    draw: Callable[["Chart"], Any]
    unit: str = "short"
    limit: float | None = None
    span: int = HALF
    height: int = 8


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        name: in its address and its file.
        title: in the list of dashboards.
        text: what it is for.
        rows: charts by the heading above them.
        models: query of the names that the variable `$model` offers.
    """

    name: str
    title: str
    text: str
    rows: dict[str, tuple[Chart, ...]] = field(default_factory=dict)
    models: str = "label_values(taxonflow_drift_state, model)"

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts, in the order of reading."""
        return tuple(chart for charts in self.rows.values() for chart in charts)

    def to_json(self, indent: int | None = 1) -> str:
        """Returns the dashboard as Grafana imports it, the same text each time."""
        return JSONEncoder(indent=indent, sort_keys=True).encode(_dashboard(self).build())


def lines(chart: Chart) -> Any:
    """Draws series over time."""
    panel = timeseries.Panel().line_width(2).fill_opacity(0).show_points(looks.VisibilityMode.AUTO).span_nulls(True)
    if chart.limit is not None:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphTresholdsStyleMode.DASHED))
    return _finished(panel.legend(_legend()), chart)


def stack(chart: Chart) -> Any:
    """Draws series on top of each other."""
    stacking = common.StackingConfig().mode(looks.StackingMode.NORMAL)
    return _finished(timeseries.Panel().fill_opacity(40).stacking(stacking).legend(_legend()), chart)


def number(chart: Chart) -> Any:
    """Shows the latest values as large numbers."""
    panel = stat.Panel().graph_mode(looks.BigValueGraphMode.AREA).reduce_options(_latest())
    return _finished(panel.color_mode(looks.BigValueColorMode.VALUE), chart)


def bars(chart: Chart) -> Any:
    """Shows the latest values as bars, one below the other."""
    panel = bargauge.Panel().orientation(looks.VizOrientation.HORIZONTAL).reduce_options(_latest())
    return _finished(panel.display_mode(looks.BarGaugeDisplayMode.BASIC).min(0), chart)


def states(chart: Chart) -> Any:
    """Draws when each series was above zero."""
    return _finished(statetimeline.Panel().merge_values(True).show_value(looks.VisibilityMode.NEVER), chart)


def _finished(panel: Any, chart: Chart) -> Any:
    panel.title(chart.title).description(chart.text).unit(chart.unit).datasource(SOURCE)
    panel.span(chart.span).height(chart.height).no_value("no data").thresholds(_thresholds(chart.limit))
    for place, query in enumerate(chart.queries):
        target = queries.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + place))
        panel.with_target(target.datasource(SOURCE))
    return panel


def _thresholds(limit: float | None) -> boards.ThresholdsConfig:
    steps = [Threshold(value=None, color=_GREEN)]
    if limit is not None:
        steps.append(Threshold(value=limit, color=_RED))
    return boards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _legend() -> common.VizLegendOptions:
    placed = common.VizLegendOptions().placement(looks.LegendPlacement.BOTTOM).show_legend(True)
    return placed.display_mode(looks.LegendDisplayMode.LIST)


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _dashboard(board: Board) -> boards.Dashboard:
    made = boards.Dashboard(board.title).uid(f"{TAG}-{board.name}").description(board.text).tags([TAG]).readonly()
    made.time("now-24h", "now").refresh("30s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    others = boards.DashboardLink("Taxonflow").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    made.link(others.as_dropdown(True).keep_time(True).include_vars(True))
    made.with_variable(boards.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    made.with_variable(_model_variable(board.models))
    numbers = count(1)
    for heading, charts in board.rows.items():
        made.with_row(boards.Row(heading).id(next(numbers)))
        for chart in charts:
            made.with_panel(chart.draw(chart).id(next(numbers)))
    return made


def _model_variable(query: str) -> boards.QueryVariable:
    variable = boards.QueryVariable("model").label("Model").query(query).datasource(SOURCE)
    every = VariableOption(text="All", value="$__all")
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).include_all(True).multi(True).current(every)
