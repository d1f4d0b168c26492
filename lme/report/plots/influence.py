"""Influence of rows and groups on the estimates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import FitError, OptionError
from lme.inference.diagnostics.influence_measures import Influence, RowInfluence
from lme.report.plots import canvas
from lme.report.plots.variables import sequence

Array = NDArray[np.float64]

KINDS = ("index", "bubble", "dfbetas")
MEASURES = ("cooks_distance", "mdffits", "cov_ratio", "cov_trace")
_LISTED = 40
"""Groups up to which all are named, sorted by size."""


def plot_influence(
    influence: Influence,
    *,
    kind: str = "index",
    measure: str = "cooks_distance",
    parm: Any = None,
    labels: int = 5,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw the influence of each row or group.

    Parameters
    ----------
    influence : Influence
        What ``res.get_influence()`` returns.
    kind : {"index", "bubble", "dfbetas"}
        A measure for each unit (up to 40 groups by size, others in their order);
        studentized residuals over leverages with areas by Cook's distance (rows only);
        or the change of each coefficient in standard errors.
    measure : {"cooks_distance", "mdffits", "cov_ratio", "cov_trace"}
        Of kind "index".
    parm : str or sequence of str, optional
        Coefficients of kind "dfbetas"; by default all.
    labels : int
        Units to name: the largest.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        For unknown options, and bubbles of groups.
    """
    canvas.check_choice("kind", kind, KINDS)
    canvas.check_choice("measure", measure, MEASURES)
    count = canvas.check_count("labels", labels, 0)
    if kind == "bubble":
        return _bubbles(influence, count, ax, fig)
    if kind == "dfbetas":
        frame = influence.dfbetas
        known = [str(name) for name in frame.columns]
        names = canvas.chosen("parm", sequence("parm", parm) or None, known)
        series = [frame[name].rename(f"dfbetas of {name}") for name in names]
    else:
        words = {"cooks_distance": "Cook's distance"}
        series = [getattr(influence, measure).rename(words.get(measure, measure))]
    return _indexed(influence, series, kind, count, ax, fig)


def _indexed(
    influence: Influence,
    series: list[pd.Series],
    kind: str,
    labels: int,
    ax: Any,
    fig: Any,
) -> Any:
    """A panel a series."""
    units = len(influence.index)
    listed = influence.unit != "row" and units <= _LISTED
    across = min(len(series), 3)
    down = -(-len(series) // across)
    height = canvas.height_of_levels(units) if listed else 3.2
    width = 6.4 if across == 1 else 1.2 + 2.9 * across
    sheet = canvas.panels(
        len(series),
        ax=ax,
        fig=fig,
        size=(width, min(height * down, 12.0)),
        columns=across,
    )
    first = series[0].to_numpy(dtype=float)
    order = np.argsort(np.where(np.isfinite(first), np.abs(first), -1.0), kind="stable")
    for panel, each in zip(sheet.axes, series, strict=True):
        values = each.to_numpy(dtype=float)
        if not np.isfinite(values).any():
            raise FitError(f"{each.name} is not known for any {influence.unit}.")
        zero = 1.0 if each.name == "cov_ratio" else 0.0
        if listed:
            _sorted(panel, values[order], influence, order, zero)
            panel.set_xlabel(str(each.name))
            if panel is not sheet.axes[0] and sheet.own:
                panel.tick_params(axis="y", labelleft=False)
                panel.set_ylabel("")
        else:
            _stems(panel, values, influence, labels, zero)
            panel.set_ylabel(str(each.name))
        if kind == "dfbetas":
            _bounds(panel, units, vertical=listed)
    lost = int((~np.isfinite(first)).sum())
    if lost:
        sheet.note(f"{lost:,} of {units:,} not known; see influence.notes")
    return sheet.figure


def _sorted(
    ax: Any, values: Array, influence: Influence, order: Any, zero: float
) -> None:
    """All units by name, the largest on top."""
    at = np.arange(values.size)
    canvas.style(ax, "x")
    ax.axvline(zero, color=canvas.MUTED, linewidth=0.8)
    ax.hlines(at, zero, values, color=canvas.BLUE, linewidth=1.2, gid="stems")
    ax.scatter(values, at, s=22, color=canvas.INK, linewidths=0, zorder=3, gid="points")
    canvas.label_levels(ax, [influence.index[i] for i in order], influence.unit)


def _stems(
    ax: Any, values: Array, influence: Influence, labels: int, zero: float
) -> None:
    """Units in their order, the largest named."""
    at = np.arange(values.size)
    canvas.style(ax, "y")
    ax.axhline(zero, color=canvas.MUTED, linewidth=0.8)
    width = float(np.clip(400.0 / values.size, 0.3, 1.4))
    many = values.size > 5000
    ax.vlines(
        at, zero, values, color=canvas.BLUE, lw=width, gid="stems", rasterized=many
    )
    if values.size <= 400:
        ax.scatter(
            at, values, s=9, color=canvas.BLUE, linewidths=0, zorder=3, gid="points"
        )
    size = np.where(np.isfinite(values), np.abs(values - zero), -1.0)
    top = np.argsort(-size, kind="stable")[:labels]
    for i in top[size[top] > 0.0]:
        up = values[i] >= zero
        _label(
            ax, influence.index[i], (at[i], values[i]), (0, 3 if up else -9), "center"
        )
    what = (
        "row, in the order of the data" if influence.unit == "row" else influence.unit
    )
    ax.set_xlabel(f"{what} ({values.size:,})")
    ax.margins(y=0.1)


def _bounds(ax: Any, units: int, *, vertical: bool) -> None:
    """Belsley, Kuh and Welsch's size to look at, ``2 / sqrt(units)``."""
    bound = 2.0 / np.sqrt(units)
    for value in (-bound, bound):
        line = ax.axvline if vertical else ax.axhline
        line(value, color=canvas.RED, linewidth=0.8, linestyle="--", gid="bound")


def _bubbles(influence: Influence, labels: int, ax: Any, fig: Any) -> Any:
    if not isinstance(influence, RowInfluence):
        raise OptionError(
            f"kind='bubble' is for rows; this is the influence of {influence.unit}.",
            "It needs leverages and residuals of rows.",
            "Use kind='index' or kind='dfbetas', or get_influence() of rows.",
        )
    leverage = influence.hat_matrix_diag.to_numpy()
    residual = influence.resid_studentized_external.to_numpy()
    cook = influence.cooks_distance.to_numpy()
    good = np.isfinite(leverage) & np.isfinite(residual) & np.isfinite(cook)
    sheet = canvas.panels(1, ax=ax, fig=fig, size=(6.4, 4.6))
    panel = sheet.axes[0]
    canvas.style(panel)
    largest = float(cook[good].max(initial=0.0)) or 1.0
    for line in (-2.0, 0.0, 2.0):
        dash = "-" if line == 0.0 else "--"
        panel.axhline(line, color=canvas.MUTED, linewidth=0.8, linestyle=dash)
    mean = float(leverage[good].mean())
    panel.axvline(2.0 * mean, color=canvas.MUTED, linewidth=0.8, linestyle="--")
    panel.scatter(
        leverage[good],
        residual[good],
        s=6.0 + 500.0 * cook[good] / largest,
        color=canvas.BLUE,
        alpha=max(0.25, canvas.opacity(int(good.sum())) * 0.6),
        edgecolors=canvas.INK,
        linewidths=0.4,
        gid="bubbles",
        rasterized=good.sum() > 5000,
    )
    size = np.where(good, cook, -1.0)
    for i in np.argsort(-size, kind="stable")[: min(labels, int(good.sum()))]:
        _label(panel, influence.index[i], (leverage[i], residual[i]), (6, 3), "left")
    panel.margins(0.08)
    panel.set_xlabel("leverage (dashed: twice the mean)")
    panel.set_ylabel("studentized residual")
    sheet.note("areas by Cook's distance")
    return sheet.figure


def _label(ax: Any, name: Any, at: Any, away: Any, side: str) -> None:
    ax.annotate(
        canvas.shortened(str(name), 16),
        at,
        away,
        textcoords="offset points",
        ha=side,
        fontsize=8,
        color=canvas.INK,
        gid="label",
    )
