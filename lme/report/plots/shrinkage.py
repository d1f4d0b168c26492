"""How the estimates of groups move towards the population in a mixed model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError, GroupError, OptionError
from lme.inference.modes import random_effects
from lme.inference.working import MixedFit
from lme.report.plots import canvas
from lme.report.plots.unpooled import Shrinkage, default_group, in_sight, shrinkage
from lme.report.plots.variables import sequence

Array = NDArray[np.float64]

_NAMED = 25
"""Groups up to which each is named beside its point."""
_MOST_COLUMNS = 5


def plot_shrinkage(
    fit: MixedFit,
    *,
    group: str | None = None,
    term: Any = None,
    labels: bool | None = None,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw coefficients of each group by itself, and where the model moves them.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    group : str, optional
        The grouping factor; by default that with most random-effects columns.
    term : str or sequence of str, optional
        Random-effects columns; one is drawn along a line, two against each other, and
        more in pairs. By default all.
    labels : bool, optional
        Name the groups; by default where they are few.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GroupError, OptionError
        For factors and columns that the model does not have.

    Notes
    -----
    A black point is the estimate from the group alone (see `unpooled.shrinkage`), an
    arrow leads to its coefficient in the mixed model, blue, and the red diamond is the
    population: the fixed effects. Groups that do not determine their coefficients, or
    whose estimates are infinite (counts that are all zero), have no arrow. Estimates
    very far out are beyond the frame. Both are counted above it.
    """
    known = list(random_effects(fit))
    if not known:
        raise FitError("The model has no random effects.", "Expected some to draw.")
    name = default_group(fit) if group is None else group
    if name not in known:
        raise GroupError(name, known)
    found = shrinkage(fit, name)
    columns = canvas.chosen(
        "term", sequence("term", term) or None, [str(c) for c in found.mixed.columns]
    )
    if len(columns) > _MOST_COLUMNS:
        raise OptionError(
            f"{len(columns)} columns make too many pairs.",
            f"At most {_MOST_COLUMNS} columns can be seen.",
            f"Choose some with term=; there is {', '.join(map(repr, columns))}.",
        )
    if len(columns) == 1:
        return _along(found, name, columns[0], labels, ax, fig)
    pairs = [(a, b) for i, b in enumerate(columns[1:], 1) for a in columns[:i]]
    size = (
        (6.6, 5.2)
        if len(pairs) == 1
        else (1.2 + 3.4 * min(len(pairs), 3), 0.8 + 3.0 * -(-len(pairs) // 3))
    )
    sheet = canvas.panels(len(pairs), ax=ax, fig=fig, size=size)
    named = len(found.mixed) <= _NAMED if labels is None else labels
    for panel, (first, second) in zip(sheet.axes, pairs, strict=True):
        _against(panel, found, first, second, named)
    canvas.legend(sheet.axes[0])
    if sheet.own:
        sheet.place.suptitle(f"coefficients by {name}", fontsize="medium")
    return sheet.figure


def _against(ax: Any, found: Shrinkage, first: str, second: str, named: bool) -> None:
    """Two coefficients against each other."""
    pair = [first, second]
    start, end = found.within[pair].to_numpy(), found.mixed[pair].to_numpy()
    center = found.population[pair].to_numpy()
    canvas.style(ax)
    count = len(end)
    xlim = in_sight(start[:, 0], np.append(end[:, 0], center[0]))
    ylim = in_sight(start[:, 1], np.append(end[:, 1], center[1]))
    known = np.isfinite(start).all(axis=1)
    step = (end - start)[known]
    ax.quiver(
        *start[known].T,
        *step.T,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        width=0.0025 if count <= 200 else 0.0012,
        headwidth=5,
        headlength=6,
        color=canvas.MUTED,
        alpha=0.9 if count <= 200 else 0.3,
        zorder=2,
        gid="arrows",
    )
    size = canvas.size_of_points(2 * count)
    look = {"s": size, "linewidths": 0, "alpha": 1.0 if count <= 200 else 0.5}
    ax.scatter(
        *start[known].T,
        color=canvas.INK,
        label="within group",
        gid="within",
        zorder=3,
        **look,
    )
    ax.scatter(
        *end.T, color=canvas.BLUE, label="mixed model", gid="mixed", zorder=3, **look
    )
    ax.scatter(
        *center[:, None],
        marker="D",
        s=55,
        color=canvas.RED,
        edgecolors="white",
        label="population",
        gid="population",
        zorder=5,
    )
    if named:
        for label, (x, y), ok in zip(
            found.mixed.index, np.where(known[:, None], start, end), known, strict=True
        ):
            if xlim[0] <= x <= xlim[1] and ylim[0] <= y <= ylim[1]:
                ax.annotate(
                    canvas.shortened(str(label), 12),
                    (x, y),
                    (3, 3),
                    textcoords="offset points",
                    fontsize=7,
                    color=canvas.INK if ok else canvas.MUTED,
                )
    ax.set_xlim(*xlim)
    ax.set_ylim(*ylim)
    ax.set_xlabel(first)
    ax.set_ylabel(second)
    inside = (start >= [xlim[0], ylim[0]]) & (start <= [xlim[1], ylim[1]])
    _say(ax, count, known, known & ~inside.all(axis=1))


def _along(
    found: Shrinkage, name: str, column: str, labels: bool | None, ax: Any, fig: Any
) -> Any:
    """One coefficient along x, the groups by what they say themselves."""
    start, end = found.within[column].to_numpy(), found.mixed[column].to_numpy()
    order = np.argsort(np.where(np.isfinite(start), start, end), kind="stable")
    start, end = start[order], end[order]
    count = end.size
    height = canvas.height_of_levels(count) + 0.3
    sheet = canvas.panels(1, ax=ax, fig=fig, size=(6.2, height))
    panel = sheet.axes[0]
    canvas.style(panel, "x")
    at = np.arange(count)
    center = float(found.population[column])
    xlim = in_sight(start, np.append(end, center))
    panel.axvline(
        center, color=canvas.RED, lw=1.2, label="population", gid="population"
    )
    known = np.isfinite(start)
    panel.hlines(
        at[known], start[known], end[known], color=canvas.MUTED, lw=0.8, gid="arrows"
    )
    size = canvas.size_of_points(3 * count)
    panel.scatter(
        start,
        at,
        s=size,
        facecolors="white" if count <= 200 else canvas.INK,
        edgecolors=canvas.INK,
        linewidths=0.9 if count <= 200 else 0,
        label="within group",
        gid="within",
        zorder=3,
    )
    panel.scatter(
        end,
        at,
        s=size,
        color=canvas.BLUE,
        lw=0,
        label="mixed model",
        gid="mixed",
        zorder=4,
    )
    names = [found.mixed.index[i] for i in order]
    if labels is False:
        names = [""] * count
    canvas.label_levels(panel, names, name)
    panel.set_xlim(*xlim)
    panel.set_xlabel(column)
    canvas.legend(panel)
    _say(panel, count, known, known & ((start < xlim[0]) | (start > xlim[1])))
    return sheet.figure


def _say(ax: Any, count: int, known: Any, beyond: Any) -> None:
    """What is not seen."""
    said = []
    if not known.all():
        said.append(
            f"{int((~known).sum()):,} of {count:,} groups undetermined or infinite"
        )
    if beyond.any():
        said.append(f"{int(beyond.sum()):,} of {count:,} groups beyond the frame")
    if said:
        ax.set_title("; ".join(said), loc="left", fontsize="small")
