"""Means of cells: how the effect of one factor changes with another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.errors import FormulaError, OptionError
from lme.report.plots import canvas
from lme.report.plots.trellis import MAX_PANELS
from lme.report.plots.variables import (
    Variable,
    levels_of,
    means_by,
    read_request,
    read_variables,
    response_numbers,
    sequence,
)

Array = NDArray[np.float64]

INTERVALS = ("none", "se", "ci")


def plot_interaction(
    formula: str,
    data: Any,
    *,
    panels: Any = None,
    interval: str = "none",
    level: float = 0.95,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw means of the response over one factor, a line for each level of another.

    Parameters
    ----------
    formula : str
        ``y ~ x * f``: x along the axis (numbers at their place), f the lines.
    data : DataFrame or mapping
        As for `lmer`. Rows with a missing value are left out.
    panels : str or sequence of str, optional
        Factors whose (combined) levels get panels.
    interval : {"none", "se", "ci"}
        One standard error of each mean to either side, or a normal interval, both from
        the rows of the cell alone.
    level : float
        Coverage of "ci".
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    R's ``interaction.plot``. Parallel lines mean no interaction, up to chance. Means of
    a model rather than of the data: ``res.emmeans("x:f").plot(kind="interaction")``.

    Examples
    --------
    >>> import lme
    >>> from lme.report.plots import plot_interaction
    >>> oats = lme.datasets.load("oats")
    >>> figure = plot_interaction("yield ~ nitrogen * variety", oats)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['Golden.rain', 'Marvellous', 'Victory']
    """
    canvas.check_choice("interval", interval, INTERVALS)
    if not 0.0 < level < 1.0:
        raise OptionError(f"level={level!r} is not a coverage.", "It is 0 to 1.")
    request = read_request(formula, most=2)
    if len(request.right) != 2 or request.group is not None:
        raise FormulaError(
            f"{formula!r} is no interaction of two variables.",
            "Expected a formula such as 'y ~ x * f'.",
            "Further factors go to panels=.",
        )
    names = sequence("panels", panels)
    wanted = {
        "y": request.response,
        "x": request.right[0],
        "trace": request.right[1],
        "panels": ":".join(names) or None,
    }
    found = read_variables(data, wanted, formula)
    found["y"] = response_numbers(found["y"])
    found["trace"] = levels_of(found["trace"])
    numbers = None if found["x"].is_factor else np.unique(found["x"].values)
    found["x"] = levels_of(found["x"])
    parts: list[tuple[str, Any]] = [("", slice(None))]
    if "panels" in found:
        by = found["panels"] = levels_of(found["panels"])
        name = by.name
        parts = [(f"{name}: {each}", by.codes == i) for i, each in enumerate(by.levels)]
        if len(parts) > MAX_PANELS:
            raise OptionError(
                f"panels={by.name!r} has {len(parts)} levels.",
                f"At most {MAX_PANELS} panels are drawn.",
            )
    across = min(len(parts), 3)
    traces = len(found["trace"].levels)
    size = (5.8 if across == 1 else 1.2 + 2.8 * across) + 1.3 * (traces <= 24)
    sheet = canvas.panels(
        len(parts),
        ax=ax,
        fig=fig,
        size=(size, 0.8 + 3.2 * -(-len(parts) // across)),
        columns=across,
        sharex=True,
        sharey=True,
    )
    z = 0.0 if interval == "none" else 1.0
    z = float(ndtri(0.5 + 0.5 * level)) if interval == "ci" else z
    for panel, (title, rows) in zip(sheet.axes, parts, strict=True):
        inside = {use: each.part(rows) for use, each in found.items()}
        _lines(panel, inside, numbers, z)
        if title:
            panel.set_title(title, fontsize="medium")
    sheet.label(found["x"].name, f"mean {found['y'].name}")
    canvas.legend_beside(sheet.axes[across - 1], found["trace"].name, limit=24)
    if traces > 24:
        sheet.note(f"{traces:,} lines: {found['trace'].name}")
    return sheet.figure


def _lines(ax: Any, found: dict[str, Variable], numbers: Any, z: float) -> None:
    """A line of cell means for each level of the trace factor."""
    x, trace, y = found["x"], found["trace"], found["y"].values
    places = np.arange(len(x.levels), dtype=float) if numbers is None else numbers
    canvas.style(ax)
    hues = canvas.colors(len(trace.levels))
    few = len(trace.levels) <= len(canvas.PALETTE)
    for i, level in enumerate(trace.levels):
        rows = trace.codes == i
        codes, values = x.codes[rows], y[rows]
        means = means_by(codes, values, places.size)
        known = np.isfinite(means)
        # A row of several shades needs no dashes: their order is what is seen.
        dash = canvas.DASHES[i % len(canvas.DASHES)] if few else "-"
        ax.plot(
            places[known],
            means[known],
            color=hues[i],
            linestyle=dash,
            marker=canvas.MARKERS[i % len(canvas.MARKERS)] if few else ".",
            markersize=5,
            linewidth=1.4 if few else 0.9,
            label=level,
            gid="means",
        )
        if z > 0.0:
            half = z * _errors(codes, values, means)
            ax.vlines(
                places[known],
                (means - half)[known],
                (means + half)[known],
                color=hues[i],
                linewidth=1.0,
                gid="intervals",
            )
    if numbers is None:
        canvas.label_levels(ax, x.levels, "", "x")


def _errors(codes: Any, values: Array, means: Array) -> Array:
    """Standard errors of the means of cells; NaN for a single row."""
    sizes = np.bincount(codes, minlength=means.size)
    squares = np.bincount(codes, (values - means[codes]) ** 2, means.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(squares / (sizes - 1) / sizes))
