"""The few kinds of panel that the boards are made of. Each has a unit, a legend and limits.

A window of `$__rate_interval` is Grafana's: at least four scrapes, more where one looks from afar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panels = Mapping[str, Sequence[Builder[Panel]]]
"""Panels by the title of their row."""
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
GOOD, DOUBTFUL, BAD = "green", "orange", "red"
WIDE, HALF, THIRD, SMALL = 24, 12, 8, 6

SHARE, SECONDS, RATE, COUNT, TOKENS = "percentunit", "s", "reqps", "short", "suffix: tokens/s"


@dataclass(frozen=True, slots=True)
class Limits:
    """From which value on a figure is doubtful, and bad; the alerts use the same.

    With `is_low_bad` figures below are meant.
    """

    doubtful: float | None = None
    bad: float | None = None
    is_low_bad: bool = False

    def build(self) -> dashboards.ThresholdsConfig:
        steps = [Threshold(value=None, color=GOOD)]
        if self.is_low_bad:
            steps = [
                Threshold(value=None, color=BAD),
                Threshold(value=self.bad, color=DOUBTFUL),
                Threshold(value=self.doubtful, color=GOOD),
            ]
        else:
            for value, color in ((self.doubtful, DOUBTFUL), (self.bad, BAD)):
                if value is not None:
                    steps.append(Threshold(value=value, color=color))
        return dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


NONE = Limits()
"""For figures of which none is better than another."""
ANY_IS_DOUBTFUL, ANY_IS_BAD = Limits(doubtful=0.001), Limits(bad=0.001)
FIRST_TEXT = Limits(2, 5)
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Series:
    """One query, and how what it gives is called."""

    expression: str
    legend: str


def graph(
    title: str,
    description: str,
    unit: str,
    *series: Series,
    limits: Limits = NONE,
    width: int = HALF,
    is_stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time, or areas on each other that make up a whole."""
    legend = (
        common_builders.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "mean", "max"])
    )
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    shown = (
        common.GraphThresholdsStyleMode.DASHED
        if limits.doubtful is not None or limits.bad is not None
        else common.GraphThresholdsStyleMode.OFF
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(8)
        .legend(legend)
        .tooltip(tooltip)
        .thresholds(limits.build())
        .thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(shown))
        .color_scheme(dashboards.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .line_width(2)
        .fill_opacity(30 if is_stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
    )
    if is_stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for place, one in enumerate(series):
        panel.with_target(_query(one, place))
    return panel


def number(
    title: str, description: str, unit: str, series: Series, *, limits: Limits = NONE
) -> stat.Panel:
    """One figure as it is now, coloured by its limits, with its recent course behind it. Where it
    is none now, as a share of no requests, it is the last that there was."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(SMALL)
        .height(4)
        .thresholds(limits.build())
        .color_scheme(dashboards.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none yet")
        .with_target(_query(series, 0))
    )


def heat(
    title: str, description: str, unit: str, buckets: str, *, width: int = HALF
) -> heatmap.Panel:
    """A histogram over time; `buckets` is summed by `le`."""
    query = _query(Series(buckets, "{{le}}"), 0).format(PromQueryFormat.HEATMAP)
    color = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Viridis")
        .steps(64)
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .thresholds(NONE.build())
        .calculate(False)
        .color(color)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .show_legend()
        .show_y_histogram()
        .with_target(query)
    )


def quantiles(
    metric: str, by: str = "", *, at: tuple[float, ...] = (0.5, 0.95, 0.99)
) -> list[Series]:
    """Quantiles of a histogram; `by` is a label that is kept apart.

    Of no observations they are NaN, which the comparison leaves out: a gap, and no part of a mean.
    """
    labels, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    rate = f"sum by ({labels}) (rate({metric}_bucket[$__rate_interval]))"
    return [Series(f"histogram_quantile({q}, {rate}) >= 0", f"p{q * 100:g}{legend}") for q in at]


def rate_by(metric: str, by: str, selector: str = "") -> Series:
    """Events a second, kept apart by a label."""
    return Series(f"sum by ({by}) (rate({metric}{selector}[$__rate_interval]))", f"{{{{{by}}}}}")


def _query(series: Series, place: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(series.expression)
        .legend_format(series.legend)
        .ref_id(chr(ord("A") + place))
        .range()
    )
