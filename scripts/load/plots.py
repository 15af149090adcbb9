"""Bars as an SVG: the same file for the same numbers, whenever and wherever it is drawn."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows import number

_WIDTH, _BAR_HEIGHT, _PANEL_EXTRA = 8.0, 0.32, 0.75  # inches
_OURS, _OTHERS = "#2a6fb0", "#9aa5ad"


class Bar(NamedTuple):
    """The median of `values` is drawn, with their least and their most."""

    name: str
    values: Sequence[float]


def draw(title: str, panels: Mapping[str, Sequence[Bar]], file: Path) -> None:
    """One panel below the other, each with its own scale; the tracker's bars have the stronger colour."""
    heights = [_PANEL_EXTRA + _BAR_HEIGHT * len(bars) for bars in panels.values()]
    # Without a salt ids are by chance; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "torrust_py", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH, sum(heights) + _PANEL_EXTRA / 2), layout="constrained")
        figure.suptitle(title, x=0.01, horizontalalignment="left")
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, (name, bars) in zip(grid[:, 0], panels.items(), strict=True):
            _draw_panel(axes, name, bars)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _draw_panel(axes: Axes, name: str, bars: Sequence[Bar]) -> None:
    medians = [statistics.median(bar.values) for bar in bars]
    least = [median - min(bar.values) for median, bar in zip(medians, bars, strict=True)]
    most = [max(bar.values) - median for median, bar in zip(medians, bars, strict=True)]
    colours = [_OURS if bar.name.startswith(("native", "portable")) else _OTHERS for bar in bars]
    places = range(len(bars))
    axes.barh(places, medians, xerr=(least, most), color=colours, error_kw={"linewidth": 1, "capsize": 3})
    axes.set_yticks(places, [bar.name for bar in bars])
    axes.invert_yaxis()
    axes.set_title(name, loc="left", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, 1.15 * max(max(bar.values) for bar in bars))
    for place, median, above in zip(places, medians, most, strict=True):
        at = (median + above, place)
        axes.annotate(number(median), at, (5, 0), textcoords="offset points", va="center")
