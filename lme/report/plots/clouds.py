"""Points, lines and smoothers of one response over one covariate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.report.plots import canvas
from lme.report.plots.curves import jitter, smooth
from lme.report.plots.variables import Variable

Array = NDArray[np.float64]


def draw_cloud(
    ax: Any, found: dict[str, Variable], *, joined: bool, smooth: bool
) -> None:
    """Draw points by colour, with a smoother, or joined group by group.

    Parameters
    ----------
    ax : Axes
    found : dict of str to Variable
        ``x``, ``y``, and perhaps ``group`` and ``color``.
    joined : bool
        Join the points of each group.
    smooth : bool
        Add a local regression for each colour.
    """
    x, y = found["x"], found["y"].values
    several = "color" in found
    shades = found["color"] if several else Variable("", np.zeros(y.size), ("",))
    hues = canvas.colors(len(shades.levels)) if several else [canvas.BLUE]
    binary = np.unique(y).size <= 2
    canvas.style(ax)
    for i, level in enumerate(shades.levels):
        rows = shades.codes == i
        if not rows.any():
            continue
        name = level if several else None
        if joined:
            by = found["group"].part(rows)
            _join(ax, x.values[rows], y[rows], by, hues[i], name, alone=not several)
        else:
            place = y + jitter(y.size, 0.03) if binary else y
            ax.scatter(
                x.values[rows],
                place[rows],
                s=canvas.size_of_points(y.size),
                alpha=canvas.opacity(y.size) * (0.5 if smooth else 1.0),
                color=hues[i],
                linewidths=0,
                marker=canvas.MARKERS[i % len(canvas.MARKERS)] if several else "o",
                label=None if smooth else name,
                gid="points",
                rasterized=y.size > 5000,
            )
        if smooth:
            dash = canvas.DASHES[i % len(canvas.DASHES)]
            add_smoother(
                ax,
                x.values[rows],
                y[rows],
                color=hues[i] if several else canvas.RED,
                linestyle=dash,
                label=None if joined else name,
            )
    ax.set_xlabel(x.name)
    ax.set_ylabel(found["y"].name)
    if x.is_factor:
        canvas.label_levels(ax, x.levels, x.name, "x")


def _join(
    ax: Any,
    x: Array,
    y: Array,
    by: Variable,
    color: Any,
    label: str | None,
    *,
    alone: bool,
) -> None:
    """One line a group, as one collection."""
    from matplotlib.collections import LineCollection

    order = np.lexsort((x, by.values))
    codes = by.values[order]
    points = np.column_stack([x, y])[order]
    pieces = np.split(points, np.flatnonzero(np.diff(codes)) + 1)
    strength = float(np.clip(12.0 / max(len(pieces), 1), 0.08, 0.8))
    hues: Any = color
    if alone and len(pieces) <= 60:
        hues = canvas.colors(len(pieces)) if len(pieces) > 1 else [canvas.BLUE]
        strength = 0.8
    found = LineCollection(
        pieces, colors=hues, alpha=strength, linewidths=1.0, label=label, gid="joined"
    )
    ax.add_collection(found)
    ax.autoscale_view()


def add_smoother(ax: Any, x: Array, y: Array, **options: Any) -> None:
    """A local regression as a line; nothing where x has too few values."""
    at, values = smooth(x, y)
    if at.size:
        look = {"color": canvas.RED, "linewidth": 1.8, "gid": "smoother", "zorder": 4}
        ax.plot(at, values, **(look | options))
