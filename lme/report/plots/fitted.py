"""Data and fitted lines of each group, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, FitError, GroupError
from lme.inference.working import MixedFit
from lme.report.plots import canvas, trellis
from lme.report.plots.group_lines import LINES, GroupLines, default_x
from lme.report.plots.unpooled import default_group
from lme.report.plots.variables import ModelRows, sequence

Codes = NDArray[np.intp]

ORDERS = ("intercept", "mean", "level")
STYLES = {
    "within": {"color": canvas.INK, "linewidth": 1.0, "linestyle": ":"},
    "population": {"color": canvas.RED, "linewidth": 1.2, "linestyle": "--"},
    "mixed": {"color": canvas.BLUE, "linewidth": 1.6, "linestyle": "-"},
}


def plot_fit(
    fit: MixedFit,
    frame: Any = None,
    subset: Any = None,
    *,
    x: str | None = None,
    group: str | None = None,
    levels: Any = None,
    lines: Any = LINES,
    order: str = "intercept",
    aspect: Any = "banked",
    max_panels: int = trellis.MAX_PANELS,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw the rows of each group, and the lines of the model, in panels.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    frame, subset : optional
        The data and the `subset` of the model, as the user gave them.
    x : str, optional
        Variable along the axis; by default one whose effect differs between groups,
        else the first number of the fixed part, else its first factor.
    group : str, optional
        The grouping factor; by default that with most random-effects columns.
    levels : sequence, optional
        Levels that get a panel.
    lines : str or sequence of str
        Some of "within" (the group's own regression), "population" (random effects of
        zero), "mixed" (with the random effects of the group; those of other factors are
        zero).
    order : {"intercept", "mean", "level"}
        Of the panels: by the intercept of the own regression, by the mean of the
        response, or as the factor has them.
    aspect : "banked", float or None
        Height of a panel over its width: such that the median slope is 45 degrees, a
        number, or as the figure allows.
    max_panels : int
        Of more groups some are shown, evenly along the order.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Other variables are at their mean (factors at their most frequent level) in the
    group. The own regression is that of the columns of the fixed part that are
    functions of x in the group, all else held as the model has it. Means are on the
    scale of the response.
    """
    known = list(fit.design.flist)
    if not known:
        raise FitError("The model has no grouping factor.", "Expected one.")
    name = default_group(fit) if group is None else group
    if name not in known:
        raise GroupError(name, known)
    names = canvas.chosen("lines", sequence("lines", lines), LINES) if lines else []
    canvas.check_choice("order", order, ORDERS)
    rows = ModelRows(fit.design, frame, subset)
    found = GroupLines(fit, rows, name, x or default_x(fit, rows, name))
    shown = _shown(found, levels, order, max_panels)
    drawn_lines = found.at(shown)
    every = fit.design.flist[name].levels
    along, y = found.along, fit.design.y
    panels = [
        trellis.Panel(
            str(every[i]),
            along.values[found.members[i]],
            y[found.members[i]],
            {line: drawn_lines[line][k] for line in names},
        )
        for k, i in enumerate(shown)
    ]
    name_of_y = fit.design.y_name
    if fit.design.trials is not None:
        name_of_y = f"proportion, {name_of_y}"
    look = trellis.Look(found.x, name_of_y, STYLES, along.levels)
    note = ""
    if levels is None and len(shown) < len(every):
        note = f"{len(shown)} of {len(every):,} {name}, evenly by {order}"
    return trellis.draw(panels, look, aspect=aspect, note=note, ax=ax, fig=fig).figure


def _shown(found: GroupLines, levels: Any, order: str, most: int) -> Codes:
    """Levels with a panel, in their order."""
    every = [str(level) for level in found.fit.design.flist[found.group].levels]
    count = len(every)
    key = {
        "level": lambda: np.arange(count, dtype=float),
        "mean": lambda: np.array(
            [
                found.fit.design.y[rows].mean() if rows.size else np.nan
                for rows in found.members
            ]
        ),
        "intercept": lambda: found.intercepts,
    }[order]()
    ordered = np.argsort(key, kind="stable")
    if levels is None:
        return ordered[trellis.pick_panels(count, most)]
    given = [levels] if isinstance(levels, str) or not np.iterable(levels) else levels
    wanted = canvas.chosen("levels", [str(each) for each in given], every)
    inside = np.isin(np.array(every, dtype=object), wanted)
    chosen: Codes = ordered[inside[ordered]]
    if not chosen.size:
        raise DataError("levels is empty.", "Expected levels of the grouping factor.")
    return chosen
