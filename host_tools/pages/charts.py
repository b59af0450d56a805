"""Charts as SVG text, for pages that must work without a network."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by people with any colour vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_HEADROOM = 1.08  # a flat line does not lie on the upper edge
_LINE_STYLES = ("-", "--", ":", "-.")  # the colours come round again, each time in another style
_LEGEND_ROW = 0.18  # inches
_BASELINE = "#8a8f98"
_STYLE: Any = {  # Matplotlib types the keys as one literal of hundreds
    "svg.fonttype": "none",
    "svg.hashsalt": "edgewright",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: label, horizontal and vertical values of equal length; ``nan`` leaves a gap."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with the ends of its spread; its colour is that of ``COLORS[series]``, or grey for what all are compared with."""

    label: str
    value: float
    low: float
    high: float
    series: int | None


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    markers: bool = False,
    y_from_zero: bool = False,
) -> Markup:
    """Return a line chart with one colour and style a series, a legend when there are several, and height for all of it."""
    figure, axes = _new(title, width=9.0, height=max(3.2, 0.6 + _LEGEND_ROW * len(series)))
    for index, one in enumerate(series):
        marker = "o" if markers else ""
        axes.plot(
            one.x,
            one.y,
            label=one.label,
            color=COLORS[index % len(COLORS)],
            linestyle=_LINE_STYLES[index // len(COLORS) % len(_LINE_STYLES)],
            linewidth=1.4,
            marker=marker,
            markersize=3.0,
        )
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if y_from_zero:
        highest = max((value for one in series for value in one.y if math.isfinite(value)), default=0.0)
        axes.set_ylim(bottom=0.0, top=_HEADROOM * highest if highest > 0.0 else None)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8.0, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure, title)


def bar_chart(bars: Sequence[Bar], *, title: str, x_label: str) -> Markup:
    """Return horizontal bars, first on top, each with its spread and its value written beside it."""
    figure, axes = _new(title, width=9.0, height=0.7 + 0.38 * max(len(bars), 1))
    positions = range(len(bars))
    errors = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
    colors = [_BASELINE if bar.series is None else COLORS[bar.series % len(COLORS)] for bar in bars]
    axes.barh(
        positions,
        [bar.value for bar in bars],
        xerr=errors,
        color=colors,
        height=0.62,
        error_kw={"elinewidth": 1.0},
    )
    for position, bar in zip(positions, bars, strict=True):
        axes.annotate(f" {bar.value:.3g}", (bar.high, position), va="center", fontsize=8.0)
    axes.set_yticks(positions, [bar.label for bar in bars])
    axes.invert_yaxis()
    axes.set_xlabel(x_label)
    axes.grid(visible=False, axis="y")
    return _svg(figure, title)


def _new(title: str, *, width: float, height: float) -> tuple[Figure, Axes]:
    import matplotlib as mpl  # noqa: PLC0415 - half a second to import, which what draws nothing is spared
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10.0)
    return figure, axes


def _svg(figure: Figure, title: str) -> Markup:
    import matplotlib as mpl  # noqa: PLC0415 - as above

    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704 - Matplotlib escapes the text that it draws
