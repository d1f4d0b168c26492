"""Conditional modes of the random effects: caterpillars, quantiles, scatters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.errors import FitError, GroupError, OptionError
from lme.inference.coverage import check_level
from lme.inference.modes import RandomEffects
from lme.report.plots import canvas
from lme.report.plots.canvas import Sheet
from lme.report.plots.curves import normal_quantiles
from lme.report.plots.variables import sequence

Array = NDArray[np.float64]

KINDS = ("caterpillar", "qq", "scatter")
_MOST_COLUMNS = 6
"""Columns of a matrix of scatters."""


def plot_ranef(
    effects: RandomEffects,
    *,
    kind: str = "caterpillar",
    group: str | None = None,
    term: Any = None,
    level: float = 0.95,
    order: str | None = "first",
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw conditional modes with prediction intervals, or against each other.

    Parameters
    ----------
    effects : RandomEffects
        What ``res.ranef()`` returns.
    kind : {"caterpillar", "qq", "scatter"}
        Levels from below by size; the same at the normal quantile of its rank; or the
        columns of one factor against each other.
    group : str, optional
        One grouping factor; by default all of them.
    term : str or sequence of str, optional
        Columns; by default all.
    level : float
        Coverage of the intervals ``mode +- z condsd``. They take theta and the fixed
        effects for known.
    order : str or None
        Of the levels of a caterpillar: by the "first" column, by each panel's "own",
        by a column's name, or None: as the factor has them.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GroupError
        If the model has no such grouping factor.
    OptionError
        For unknown columns, kinds and orders.
    """
    canvas.check_choice("kind", kind, KINDS)
    check_level(level)
    if group is not None and group not in effects.frames:
        raise GroupError(group, effects.frames)
    groups = list(effects) if group is None else [group]
    shown = _columns(effects, groups, sequence("term", term))
    if kind == "scatter":
        return _scatter(effects, shown, group, ax, fig)
    frame = effects.to_frame()
    frame["half"] = frame["condsd"] * ndtri(0.5 + 0.5 * level)
    sheet = _sheet(effects, shown, kind, ax, fig)
    axes = iter(sheet.axes)
    for name, columns in shown.items():
        part = frame[frame["grpvar"] == name]
        blocks = {c: block.reset_index(drop=True) for c, block in _blocks(part)}
        places = _places(blocks, columns, order if kind == "caterpillar" else "own")
        for i, column in enumerate(columns):
            panel = next(axes)
            block = blocks[column].iloc[places[column]]
            if kind == "qq":
                _draw_quantiles(panel, block)
                panel.set_ylabel("normal quantile" if i == 0 else "")
            else:
                named = i == 0 or order == "own"
                _draw_caterpillar(panel, block, name if named else "", named)
            panel.set_title(
                f"{name}: {column}" if kind == "qq" else column, fontsize="medium"
            )
    if sheet.own:
        percent = f"{100 * level:.6g} %"
        sheet.place.supxlabel(
            f"conditional mode, {percent} prediction interval", fontsize="medium"
        )
    return sheet.figure


def _columns(
    effects: RandomEffects, groups: list[str], wanted: list[str]
) -> dict[str, list[str]]:
    """Columns to show of each factor."""
    known = {name: list(map(str, effects[name].columns)) for name in groups}
    every = list(dict.fromkeys(c for names in known.values() for c in names))
    if not every:
        raise FitError("The model has no random effects.", "Expected some to draw.")
    chosen = canvas.chosen("term", wanted or None, every)
    found = {name: [c for c in names if c in chosen] for name, names in known.items()}
    return {name: columns for name, columns in found.items() if columns}


def _blocks(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(term), block) for term, block in part.groupby("term", sort=False)]


def _places(
    blocks: dict[str, pd.DataFrame], columns: list[str], order: str | None
) -> dict[str, NDArray[np.intp]]:
    """Rows of each column's block from below."""
    values = {c: block["condval"].to_numpy() for c, block in blocks.items()}
    count = len(values[columns[0]])
    if order is None:
        # The first level on top, as a list is read.
        return dict.fromkeys(columns, np.arange(count)[::-1])
    if order == "own":
        return {c: np.argsort(values[c], kind="stable") for c in columns}
    by = columns[0] if order == "first" else order
    if by not in values:
        known = ("first", "own", *values)
        canvas.check_choice("order", order, known)
    return dict.fromkeys(columns, np.argsort(values[by], kind="stable"))


def _sheet(
    effects: RandomEffects, shown: dict[str, list[str]], kind: str, ax: Any, fig: Any
) -> Sheet:
    """Axes: a row a factor, a panel a column."""
    count = sum(map(len, shown.values()))
    across = max(map(len, shown.values()))
    if ax is not None or len(shown) == 1:
        levels = max(len(effects[name]) for name in shown)
        height = canvas.height_of_levels(levels) if kind == "caterpillar" else 4.0
        width = 5.0 if across == 1 else 1.2 + 2.9 * min(across, 4)
        height *= -(-across // 4) if len(shown) == 1 else 1
        return canvas.panels(
            count,
            ax=ax,
            fig=fig,
            size=(width, min(height, 12.0)),
            columns=min(across, 4),
        )
    heights = [
        canvas.height_of_levels(len(effects[name])) if kind == "caterpillar" else 3.2
        for name in shown
    ]
    total = min(sum(heights), 12.0)
    sheet = canvas.panels(
        len(shown) * across,
        fig=fig,
        size=(1.4 + 3.2 * across, total),
        columns=across,
        height_ratios=heights,
    )
    kept: list[Any] = []
    for i, columns in enumerate(shown.values()):
        row = sheet.axes[i * across : (i + 1) * across]
        kept += row[: len(columns)]
        for unused in row[len(columns) :]:
            unused.remove()
    return Sheet(sheet.figure, tuple(kept), True, sheet.place)


def _draw_caterpillar(ax: Any, block: pd.DataFrame, name: str, named: bool) -> None:
    values, half = block["condval"].to_numpy(), block["half"].to_numpy()
    count = values.size
    canvas.style(ax, "x")
    at = np.arange(count)
    ax.axvline(0.0, color=canvas.MUTED, linewidth=0.8, gid="zero")
    _intervals(ax, at, values, half)
    canvas.label_levels(ax, block["grp"].tolist(), name)
    if not named:
        ax.tick_params(axis="y", labelleft=False)
        ax.set_ylabel("")


def _draw_quantiles(ax: Any, block: pd.DataFrame) -> None:
    values, half = block["condval"].to_numpy(), block["half"].to_numpy()
    canvas.style(ax)
    ax.axvline(0.0, color=canvas.MUTED, linewidth=0.8, gid="zero")
    _intervals(ax, normal_quantiles(values.size), values, half)


def _intervals(ax: Any, at: Any, values: Array, half: Array) -> None:
    """Points with horizontal intervals."""
    count = values.size
    width = float(np.clip(60.0 / max(count, 1), 0.3, 1.6))
    ax.hlines(
        at,
        values - half,
        values + half,
        color=canvas.BLUE,
        linewidth=width,
        alpha=0.9 if count <= 300 else 0.35,
        gid="intervals",
    )
    ax.scatter(
        values,
        at,
        s=canvas.size_of_points(4 * count),
        color=canvas.INK,
        linewidths=0,
        zorder=3,
        gid="modes",
    )


def _scatter(
    effects: RandomEffects,
    shown: dict[str, list[str]],
    group: str | None,
    ax: Any,
    fig: Any,
) -> Any:
    """Columns of one factor against each other."""
    able = [name for name, columns in shown.items() if len(columns) > 1]
    if len(able) != 1:
        found = "has no factor with several columns" if not able else "has several"
        raise OptionError(
            f"kind='scatter' needs one factor with two columns or more; this {found}.",
            f"Grouping factors are {', '.join(map(repr, effects))}.",
            "Pass group=." if able else "",
        )
    frame, columns = effects[able[0]], shown[able[0]]
    if len(columns) > _MOST_COLUMNS:
        raise OptionError(
            f"A matrix of scatters of {len(columns)} columns is too large.",
            f"At most {_MOST_COLUMNS} columns can be seen.",
            f"Choose some with term=; there is {', '.join(map(repr, columns))}.",
        )
    pairs = [(a, b) for i, b in enumerate(columns[1:], 1) for a in columns[:i]]
    sheet = canvas.panels(
        len(pairs), ax=ax, fig=fig, size=_scatter_size(len(pairs)), columns=None
    )
    for panel, (first, second) in zip(sheet.axes, pairs, strict=True):
        x, y = frame[first].to_numpy(), frame[second].to_numpy()
        canvas.style(panel)
        for line in (panel.axvline, panel.axhline):
            line(0.0, color=canvas.MUTED, linewidth=0.8)
        panel.scatter(
            x,
            y,
            s=canvas.size_of_points(x.size),
            alpha=canvas.opacity(x.size),
            color=canvas.BLUE,
            linewidths=0,
            gid="modes",
        )
        if x.size <= 25:
            for label, a, b in zip(frame.index, x, y, strict=True):
                panel.annotate(
                    canvas.shortened(str(label), 12),
                    (a, b),
                    (3, 3),
                    textcoords="offset points",
                    fontsize=7,
                    color=canvas.MUTED,
                )
        panel.margins(0.09)
        panel.set_xlabel(first)
        panel.set_ylabel(second)
        if np.ptp(x) > 0 and np.ptp(y) > 0:
            r = float(np.corrcoef(x, y)[0, 1])
            panel.set_title(f"r of the modes = {r:.2f}", fontsize="small", loc="left")
    if sheet.own:
        sheet.place.suptitle(f"conditional modes by {able[0]}", fontsize="medium")
    return sheet.figure


def _scatter_size(count: int) -> tuple[float, float]:
    if count == 1:
        return 5.0, 4.4
    return 1.0 + 3.0 * min(count, 3), 0.6 + 2.8 * -(-count // 3)
