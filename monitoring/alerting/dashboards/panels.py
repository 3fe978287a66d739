"""Charts and dashboards, and their conversion to Grafana's JSON."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus as queries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as enums
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
    """A PromQL expression and the legend of its series, in which Grafana replaces `{{label}}`."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Chart:
    """A panel.

    Attributes:
        title: Title of the panel.
        text: Description, which Grafana shows beside the title.
        queries: Queries for its series.
        draw: Function that builds the panel: `lines`, `stack`, `number`, `bars` or `states`.
        unit: Unit in Grafana's notation, such as `percentunit` or `s`.
        limit: Value from which the panel is red, or None.
        span: Width in columns, of 24.
        height: Height in Grafana's rows.
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
class Dashboard:
    """A dashboard.

    Attributes:
        name: Name in its URL and its file name.
        title: Title in the list of dashboards.
        text: Description.
        rows: Charts by heading.
        models: Query for the values of the variable `$model`.
    """

    name: str
    title: str
    text: str
    rows: dict[str, tuple[Chart, ...]] = field(default_factory=dict)
    models: str = "label_values(taxonflow_drift_state, model)"

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts in the order of their rows."""
        return tuple(chart for charts in self.rows.values() for chart in charts)

    def to_json(self, indent: int | None = 1) -> str:
        """Return the dashboard as JSON for Grafana's import; the text is deterministic."""
        return JSONEncoder(indent=indent, sort_keys=True).encode(_dashboard(self).build())


def lines(chart: Chart) -> Any:
    """Build a panel of series over time."""
    panel = timeseries.Panel().line_width(2).fill_opacity(0).show_points(enums.VisibilityMode.AUTO).span_nulls(True)
    if chart.limit is not None:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(enums.GraphTresholdsStyleMode.DASHED))
    return _configure(panel.legend(_legend()), chart)


def stack(chart: Chart) -> Any:
    """Build a panel of stacked series."""
    stack_config = common.StackingConfig().mode(enums.StackingMode.NORMAL)
    return _configure(timeseries.Panel().fill_opacity(40).stacking(stack_config).legend(_legend()), chart)


def number(chart: Chart) -> Any:
    """Build a panel of the latest values as large numbers."""
    panel = stat.Panel().graph_mode(enums.BigValueGraphMode.AREA).reduce_options(_latest())
    return _configure(panel.color_mode(enums.BigValueColorMode.VALUE), chart)


def bars(chart: Chart) -> Any:
    """Build a panel of the latest values as horizontal bars."""
    panel = bargauge.Panel().orientation(enums.VizOrientation.HORIZONTAL).reduce_options(_latest())
    return _configure(panel.display_mode(enums.BarGaugeDisplayMode.BASIC).min(0), chart)


def states(chart: Chart) -> Any:
    """Build a timeline that shows when each series was above zero."""
    return _configure(statetimeline.Panel().merge_values(True).show_value(enums.VisibilityMode.NEVER), chart)


def _configure(panel: Any, chart: Chart) -> Any:
    panel.title(chart.title).description(chart.text).unit(chart.unit).datasource(SOURCE)
    panel.span(chart.span).height(chart.height).no_value("no data").thresholds(_thresholds(chart.limit))
    for index, query in enumerate(chart.queries):
        target = queries.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        panel.with_target(target.datasource(SOURCE))
    return panel


def _thresholds(limit: float | None) -> boards.ThresholdsConfig:
    steps = [Threshold(value=None, color=_GREEN)]
    if limit is not None:
        steps.append(Threshold(value=limit, color=_RED))
    return boards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().placement(enums.LegendPlacement.BOTTOM).show_legend(True)
    return legend.display_mode(enums.LegendDisplayMode.LIST)


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _dashboard(board: Dashboard) -> boards.Dashboard:
    dashboard = boards.Dashboard(board.title).uid(f"{TAG}-{board.name}").description(board.text).tags([TAG]).readonly()
    dashboard.time("now-24h", "now").refresh("30s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    link = boards.DashboardLink("Taxonflow").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    dashboard.link(link.as_dropdown(True).keep_time(True).include_vars(True))
    dashboard.with_variable(boards.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    dashboard.with_variable(_model_variable(board.models))
    ids = count(1)
    for heading, charts in board.rows.items():
        dashboard.with_row(boards.Row(heading).id(next(ids)))
        for chart in charts:
            dashboard.with_panel(chart.draw(chart).id(next(ids)))
    return dashboard


def _model_variable(query: str) -> boards.QueryVariable:
    variable = boards.QueryVariable("model").label("Model").query(query).datasource(SOURCE)
    all_models = VariableOption(text="All", value="$__all")
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).include_all(True).multi(True).current(all_models)
