"""One small panel a group, on common axes, in a telling order and shape.

References
----------
Cleveland, McGill and McGill (1988), The shape parameter of a two-variable graph, JASA
83:289, doi:10.1080/01621459.1988.10478598: slopes are compared best around 45 degrees.
Becker, Cleveland and Shyu (1996), The visual design and control of trellis display,
doi:10.1080/10618600.1996.10474701, for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.report.plots import canvas
from lme.report.plots.canvas import Sheet

Array = NDArray[np.float64]

MAX_PANELS = 36
_SHAPES = 0.4, 2.5
"""Least and greatest height of a panel over its width."""


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    Attributes
    ----------
    title : str
    x, y : (n,) arrays
        The points.
    lines : mapping
        From the name of a line to its x and y.
    """

    title: str
    x: Array
    y: Array
    lines: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """Names of the axes and levels of x; colours and dashes of the lines."""

    xlabel: str
    ylabel: str
    styles: Mapping[str, Mapping[str, Any]]
    xlevels: tuple[str, ...] = ()
    joined: bool = False


def banked(panels: Sequence[Panel], xlim: Any, ylim: Any) -> float:
    """Height over width at which the median slope of the lines is 45 degrees.

    Parameters
    ----------
    panels : sequence of Panel
    xlim, ylim : (float, float)
        Ranges of the axes.

    Notes
    -----
    Slopes are those of the pieces of all lines (of the points, in the order of x,
    where there is no line) in units of the ranges.
    """
    slopes: list[Array] = []
    for panel in panels:
        pieces = list(panel.lines.values())
        if not pieces:
            order = np.argsort(panel.x, kind="stable")
            pieces = [(panel.x[order], panel.y[order])]
        for x, y in pieces:
            dx, dy = np.diff(x), np.diff(y)
            slopes.append(np.abs(dy[dx > 0] / dx[dx > 0]))
    every = np.concatenate(slopes) if slopes else np.empty(0)
    every = every[np.isfinite(every)]
    steepness = float(np.median(every)) if every.size else 0.0
    steepness *= (xlim[1] - xlim[0]) / (ylim[1] - ylim[0])
    return float(np.clip(1.0 / steepness if steepness > 0 else 1.0, *_SHAPES))


def arrangement(
    count: int, shape: float, words: float = 1.0
) -> tuple[int, tuple[float, float]]:
    """Columns of panels, and the size of the figure in inches.

    Parameters
    ----------
    count : int
        Panels.
    shape : float
        Height over width of each.
    words : float
        Inches above and below the panels, for labels and a key.
    """
    width = 9.0 if count > 4 else 2.0 + 1.9 * count

    def height(columns: int) -> float:
        cell = (width - 0.75 - 0.1 * (columns - 1)) / columns
        return math.ceil(count / columns) * (cell * shape + 0.36) + words

    # As near to 4:3 as whole panels allow, without a nearly empty last row.
    def badness(columns: int) -> float:
        empty = math.ceil(count / columns) * columns - count
        return abs(math.log(height(columns) / (0.75 * width))) + 0.4 * empty / columns

    columns = min(range(1, min(count, 12) + 1), key=badness)
    return columns, (
        width,
        float(np.clip(height(columns), 2.6, min(12.0, 1.4 * width))),
    )


def limits(values: Sequence[Array]) -> tuple[float, float]:
    """Range of all finite values, with a margin."""
    every = np.concatenate([np.ravel(each) for each in values])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def pick_panels(count: int, wanted: Any) -> NDArray[np.intp]:
    """Positions, in their order, of the groups that get a panel."""
    most = canvas.check_count("max_panels", wanted)
    if most > 400:
        raise OptionError(
            f"max_panels={most} is too many.", "At most 400 panels can be seen."
        )
    return np.asarray(canvas.evenly(count, most), dtype=np.intp)


def draw(
    panels: Sequence[Panel],
    look: Look,
    *,
    aspect: Any = "banked",
    note: str = "",
    ax: Any = None,
    fig: Any = None,
) -> Sheet:
    """Draw the panels.

    Parameters
    ----------
    panels : sequence of Panel
    look : Look
    aspect : "banked", float or None
        Height of a panel over its width; None fills the figure.
    note : str
    ax, fig : optional
        As for `canvas.panels`.
    """
    xlim = limits([p.x for p in panels])
    # A line that leaves the data (a group's own, of few rows) must not shrink them.
    ylim = limits([p.y for p in panels])
    shape = _shape(aspect, panels, xlim, ylim)
    keyed = max(len(panel.lines) for panel in panels) > 1
    words = 0.65 + 0.3 * keyed + 0.2 * bool(note)
    columns, size = arrangement(len(panels), shape or 0.8, words)
    sheet = canvas.panels(
        len(panels),
        ax=ax,
        fig=fig,
        size=size,
        columns=columns,
        layout="compressed" if shape else "constrained",
        sharex=True,
        sharey=True,
    )
    count = sum(panel.x.size for panel in panels)
    for axes, panel in zip(sheet.axes, panels, strict=True):
        _draw_one(axes, panel, look, count)
        axes.set_xlim(*xlim)
        axes.set_ylim(*ylim)
        if shape:
            axes.set_box_aspect(shape)
    if sheet.own:
        _show_ends(sheet, columns)
    sheet.label(f"{look.xlabel}\n({note})" if note else look.xlabel, look.ylabel)
    _key(sheet)
    return sheet


def _shape(aspect: Any, panels: Sequence[Panel], xlim: Any, ylim: Any) -> float | None:
    if aspect is None:
        return None
    if isinstance(aspect, str):
        canvas.check_choice("aspect", aspect, ("banked",))
        return banked(panels, xlim, ylim)
    number = isinstance(aspect, (int, float)) and not isinstance(aspect, bool)
    if not number or not 0.05 <= aspect <= 20.0:
        raise OptionError(
            f"aspect={aspect!r} is not possible.",
            "It is 'banked', None, or a height over a width between 0.05 and 20.",
        )
    return float(aspect)


def _draw_one(axes: Any, panel: Panel, look: Look, count: int) -> None:
    canvas.style(axes)
    points = {"s": canvas.size_of_points(count // 4), "alpha": 0.75, "linewidths": 0}
    axes.scatter(panel.x, panel.y, color=canvas.INK, zorder=3, gid="points", **points)
    if look.joined:
        order = np.argsort(panel.x, kind="stable")
        x, y = panel.x[order], panel.y[order]
        axes.plot(x, y, color=canvas.MUTED, linewidth=0.8, gid="joined")
    for name, (x, y) in panel.lines.items():
        axes.plot(x, y, gid=name, label=name, **look.styles[name])
    # A strip, as on a trellis: what tells the panel from the others.
    axes.set_title(canvas.shortened(panel.title, 28), fontsize="small", pad=3)
    axes.tick_params(labelsize="small")
    if look.xlevels:
        axes.set_xticks(np.arange(len(look.xlevels)), look.xlevels, fontsize="small")
        if sum(map(len, look.xlevels)) > 14:
            axes.tick_params(axis="x", labelrotation=90)
    else:
        axes.locator_params(axis="x", nbins=3)


def _show_ends(sheet: Sheet, columns: int) -> None:
    """Ticks below the last panel of each column, when the last row is not full."""
    count = len(sheet.axes)
    for i in range(max(count - columns, 0), count):
        sheet.axes[i].tick_params(axis="x", labelbottom=True)


def _key(sheet: Sheet) -> None:
    """A key to the lines, outside of the panels."""
    handles, labels = sheet.axes[0].get_legend_handles_labels()
    if len(handles) < 2:
        return
    if sheet.own and len(sheet.axes) > 1:
        sheet.place.legend(
            handles,
            labels,
            loc="outside upper center",
            ncols=len(handles),
            frameon=False,
            fontsize="small",
        )
    else:
        canvas.legend(sheet.axes[0])
