"""Residuals over fitted values and covariates, their size, and their distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.inference.coverage import check_level
from lme.inference.modes import random_effects
from lme.inference.working import MixedFit
from lme.report.plots import canvas
from lme.report.plots.clouds import add_smoother
from lme.report.plots.curves import normal_band, normal_quantiles
from lme.report.plots.random_effects import plot_ranef
from lme.report.plots.residual_values import (
    fitted_variable,
    placed,
    residual_values,
    standard_values,
)
from lme.report.plots.variables import ModelRows, Variable, levels_of, means_by

Array = NDArray[np.float64]

_NAMED = 3
"""Rows that are named where they are farthest out."""


def plot_resid(
    fit: MixedFit,
    frame: Any = None,
    subset: Any = None,
    *,
    x: str = "fitted",
    kind: str = "conditional",
    type: str | None = None,
    scaled: bool = False,
    standardize: str | None = None,
    smooth: bool = True,
    jitter: bool | None = None,
    color: str | None = None,
    labels: int = 0,
    seed: Any = 0,
    ax: Any = None,
) -> Any:
    """Draw residuals over fitted values, or over a variable.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    frame, subset : optional
        The data and the `subset` of the model, as the user gave them.
    x : str
        "fitted" (with random effects where `kind` is conditional, else without), or a
        variable: a column of the data, an expression, or a grouping factor, whose
        levels are then sorted by the mean residual.
    kind, type, scaled, standardize, seed
        As for ``res.residuals``. A generalized model has by default normal scores of
        quantile residuals, which look the same whatever the family.
    smooth : bool
        Add a local regression (of a factor: the means).
    jitter : bool, optional
        Move points a little along x; by default where x has few values.
    color : str, optional
        A factor whose levels get colours.
    labels : int
        Rows to name: those farthest out.
    ax : Axes, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    choice = kind, type, scaled, standardize
    values, name = residual_values(fit, *choice, seed=seed)
    rows = ModelRows(fit.design, frame, subset)
    along = fitted_variable(fit, kind) if x == "fitted" else rows[x]
    shades = None if color is None else levels_of(rows[color])
    sheet = canvas.panels(1, ax=ax, size=(6.4, 4.2))
    axes = sheet.axes[0]
    place, along = placed(along, values, jitter)
    _points(axes, place, values, shades)
    axes.axhline(0.0, color=canvas.MUTED, linewidth=0.8, gid="zero")
    if smooth and along.is_factor:
        means = means_by(along.codes, values, len(along.levels))
        axes.plot(
            np.arange(means.size),
            means,
            color=canvas.RED,
            marker="_",
            lw=1,
            gid="smoother",
        )
    elif smooth:
        add_smoother(axes, along.values, values)
    _name_outliers(axes, place, values, fit, labels)
    axes.set_ylabel(name)
    if along.is_factor:
        canvas.label_levels(axes, along.levels, along.name, "x")
    else:
        axes.set_xlabel(along.name)
    if shades is not None:
        canvas.legend_beside(axes, shades.name)
    return sheet.figure


def plot_scale_location(
    fit: MixedFit, *, labels: int = 0, seed: Any = 0, ax: Any = None
) -> Any:
    """Draw the root of the size of standardized residuals over fitted values.

    A smoother that rises says that the residuals spread more where the mean is larger.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    labels : int
        Rows to name: those farthest out.
    seed : int, Generator, SeedSequence or None
        For quantile residuals of a generalized model.
    ax : Axes, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    values, name = standard_values(fit, seed)
    size = np.sqrt(np.abs(values))
    sheet = canvas.panels(1, ax=ax, size=(6.4, 4.2))
    axes = sheet.axes[0]
    along = fitted_variable(fit, "conditional")
    _points(axes, along.values, size, None)
    add_smoother(axes, along.values, size)
    _name_outliers(axes, along.values, size, fit, labels)
    axes.set_xlabel(along.name)
    axes.set_ylabel(f"root of |{name}|")
    axes.set_ylim(bottom=0.0)
    return sheet.figure


def plot_qq(
    fit: MixedFit,
    *,
    kind: str = "conditional",
    type: str | None = None,
    scaled: bool = False,
    standardize: str | None = None,
    level: float = 0.95,
    labels: int = _NAMED,
    seed: Any = 0,
    ax: Any = None,
) -> Any:
    """Draw sorted residuals against normal quantiles.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    kind, type, scaled, standardize, seed
        As for ``res.residuals``. By default conditional residuals over their standard
        deviation, and normal scores of quantile residuals of a generalized model;
        ``type="quantile"`` always means normal scores here.
    level : float
        Coverage of the band for each order statistic of an independent normal sample.
    labels : int
        Rows to name: those farthest out.
    ax : Axes, optional

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    The line is that of equality for standardized residuals, and goes through the
    quartiles for others. Random effects of groups have their own figure,
    ``plot_ranef(kind="qq")``.
    """
    check_level(level)
    # Ranks between 0 and 1 have nothing to do with normal quantiles.
    scaled = scaled or type == "quantile"
    plain = kind == "conditional" and type is None and standardize is None
    if plain and not scaled:
        values, name = standard_values(fit, seed)
        standard = True
    else:
        values, name = residual_values(fit, kind, type, scaled, standardize, seed=seed)
        standard = standardize is not None or (type == "quantile" and scaled)
    sheet = canvas.panels(1, ax=ax, size=(4.8, 4.4))
    axes = sheet.axes[0]
    canvas.style(axes)
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    y, x = values[order], normal_quantiles(order.size)
    slope, intercept = (1.0, 0.0) if standard else _through_quartiles(y)
    low, high = normal_band(y.size, level)
    axes.fill_between(
        x,
        intercept + slope * low,
        intercept + slope * high,
        color=canvas.FAINT,
        linewidth=0,
        gid="band",
    )
    ends = np.array([x[0], x[-1]])
    axes.plot(ends, intercept + slope * ends, color=canvas.RED, lw=1.2, gid="line")
    axes.scatter(
        x,
        y,
        s=canvas.size_of_points(y.size),
        color=canvas.BLUE,
        linewidths=0,
        zorder=3,
        gid="points",
        rasterized=y.size > 5000,
    )
    place = np.full(values.size, np.nan)
    place[order] = x
    away = np.full(values.size, np.nan)
    away[order] = np.abs(y - intercept - slope * x)
    _annotate(axes, place, values, fit, labels, away)
    axes.set_xlabel("normal quantile")
    axes.set_ylabel(name)
    return sheet.figure


def plot_diagnostics(fit: MixedFit, *, seed: Any = 0, fig: Any = None) -> Any:
    """Draw four views of a fit: residuals over fitted values, their size, two QQ plots.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    seed : int, Generator, SeedSequence or None
        For quantile residuals of a generalized model.
    fig : Figure or SubFigure, optional
        Figure to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The last panel has the conditional modes of the first column of the factor with
        most levels.
    """
    sheet = canvas.panels(4, fig=fig, size=(9.0, 7.2), columns=2)
    first, second, third, fourth = sheet.axes
    plot_resid(fit, labels=_NAMED, seed=seed, ax=first)
    first.set_title("residuals and fitted values", fontsize="medium")
    plot_scale_location(fit, labels=_NAMED, seed=seed, ax=second)
    second.set_title("size of residuals", fontsize="medium")
    plot_qq(fit, seed=seed, ax=third)
    third.set_title("distribution of residuals", fontsize="medium")
    effects = random_effects(fit)
    able = [name for name in effects if len(effects[name].columns)]
    if able:
        group = max(able, key=lambda name: len(effects[name]))
        column = str(effects[group].columns[0])
        plot_ranef(effects, kind="qq", group=group, term=column, ax=fourth)
        fourth.set_title(f"random effects, {group}: {column}", fontsize="medium")
        fourth.set_xlabel("conditional mode")
    else:
        fourth.set_axis_off()
    return sheet.figure


# --- pieces ------------------------------------------------------------


def _points(ax: Any, x: Array, y: Array, shades: Variable | None) -> None:
    canvas.style(ax)
    look: dict[str, Any] = {
        "s": canvas.size_of_points(y.size),
        "alpha": canvas.opacity(y.size),
        "linewidths": 0,
        "gid": "points",
        "rasterized": y.size > 5000,
    }
    if shades is None:
        ax.scatter(x, y, color=canvas.BLUE, **look)
        return
    for i, color in enumerate(canvas.colors(len(shades.levels))):
        rows = shades.codes == i
        marker = canvas.MARKERS[i % len(canvas.MARKERS)]
        label = shades.levels[i]
        ax.scatter(x[rows], y[rows], color=color, marker=marker, label=label, **look)


def _name_outliers(ax: Any, x: Array, y: Array, fit: MixedFit, labels: int) -> None:
    _annotate(ax, x, y, fit, labels, np.abs(y))


def _annotate(
    ax: Any, x: Array, y: Array, fit: MixedFit, labels: int, size: Array
) -> None:
    """Names of the rows of largest size."""
    if (
        isinstance(labels, bool)
        or not isinstance(labels, (int, np.integer))
        or labels < 0
    ):
        raise OptionError(
            f"labels={labels!r} is not possible.", "It is how many rows are named."
        )
    good = np.flatnonzero(np.isfinite(size) & np.isfinite(x))
    for i in good[np.argsort(-size[good], kind="stable")[:labels]]:
        ax.annotate(
            canvas.shortened(str(fit.design.index[i]), 16),
            (x[i], y[i]),
            (4, 2),
            textcoords="offset points",
            fontsize=8,
            color=canvas.INK,
            gid="label",
        )


def _through_quartiles(values: Array) -> tuple[float, float]:
    """Slope and intercept of the line through the quartiles."""
    low, high = np.quantile(values, [0.25, 0.75])
    z = 0.6744897501960817
    slope = float(high - low) / (2.0 * z)
    return slope, float(0.5 * (low + high))
