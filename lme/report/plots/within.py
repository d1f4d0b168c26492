"""Intervals of regressions within groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from lme.inference.measures.group_fits import WithinGroupFits
from lme.report.plots import canvas
from lme.report.plots.unpooled import in_sight
from lme.report.plots.variables import sequence


def plot_within_groups(
    fits: WithinGroupFits,
    *,
    term: Any = None,
    level: float = 0.95,
    pooled: bool | None = None,
    order: str | None = "first",
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw the coefficients of each group with intervals.

    Parameters
    ----------
    fits : WithinGroupFits
        What `lmList` returns.
    term : str or sequence of str, optional
        Coefficients; by default all, a panel each.
    level : float
        Coverage.
    pooled : bool, optional
        One residual standard deviation for all groups, so that intervals differ in
        width only as the designs of the groups do; by default as `fits` has it.
    order : str or None
        Of the groups from below: by the "first" coefficient shown, a coefficient's
        name, or None: as the factor has them.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure
    """
    frame = fits.confint(level, pooled=pooled)
    known = [str(name) for name in fits.design.column_names]
    columns = canvas.chosen("term", sequence("term", term) or None, known)
    count = fits.ngroups
    places = np.arange(count)[::-1]
    if order is not None:
        canvas.check_choice("order", order, ("first", *known))
        by = columns[0] if order == "first" else order
        places = np.argsort(fits.coef()[by].to_numpy(), kind="stable")
    across = min(len(columns), 4)
    sheet = canvas.panels(
        len(columns),
        ax=ax,
        fig=fig,
        size=(1.6 + 3.0 * across, canvas.height_of_levels(count)),
        columns=across,
    )
    at = np.arange(count)
    for i, (panel, column) in enumerate(zip(sheet.axes, columns, strict=True)):
        block = frame.xs(column, level="term").iloc[places]
        estimate = block["estimate"].to_numpy()
        low, high = block["lower"].to_numpy(), block["upper"].to_numpy()
        canvas.style(panel, "x")
        mean = float(fits.fixef()[column])
        panel.axvline(mean, color=canvas.RED, linewidth=1.0, gid="mean")
        width = float(np.clip(60.0 / count, 0.3, 1.6))
        panel.hlines(at, low, high, color=canvas.BLUE, linewidth=width, gid="intervals")
        panel.scatter(
            estimate,
            at,
            s=canvas.size_of_points(4 * count),
            color=canvas.INK,
            linewidths=0,
            zorder=3,
            gid="estimates",
        )
        canvas.label_levels(panel, list(block.index), fits.group)
        if i % across:
            panel.tick_params(axis="y", labelleft=False)
            panel.set_ylabel("")
        panel.set_xlim(*in_sight(np.concatenate([low, high]), estimate[:0]))
        panel.set_title(column, fontsize="medium")
    if sheet.own:
        kind = fits.pool if pooled is None else pooled
        spread = "pooled standard deviation" if kind else "each group's own deviation"
        words = f"{100 * level:.6g} % intervals" + (
            f", {spread}" if fits.has_scale else ""
        )
        sheet.place.supxlabel(f"{words}; line: mean", fontsize="medium")
    return sheet.figure
