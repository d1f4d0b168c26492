"""Estimated marginal means, contrasts and trends with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.inference.marginal.estimation import MarginalMeans
from lme.inference.marginal.wording import level_labels
from lme.report.plots import canvas

Array = NDArray[np.float64]

KINDS = ("intervals", "interaction")
_MOST_PANELS = 24


def plot_emmeans(
    means: MarginalMeans,
    *,
    kind: str = "intervals",
    x: str | None = None,
    color: str | None = None,
    intervals: bool = True,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw estimates with their intervals.

    Parameters
    ----------
    means : MarginalMeans
        What ``res.emmeans``, ``res.emtrends``, their ``contrast`` or ``pairs`` return;
        on the scale, with the coverage and adjustment, that they have.
    kind : {"intervals", "interaction"}
        Estimates below each other, or over one variable, joined for each level of
        another.
    x, color : str, optional
        These variables of an interaction; by default the first and the second.
    intervals : bool
        Draw intervals.
    ax, fig : optional
        Axes (as many as panels: one for each group of `by`), or a figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        For kinds and variables that do not exist.
    """
    canvas.check_choice("kind", kind, KINDS)
    frame = means.to_frame()
    # The frame has ratios where labels have differences.
    labels = frame.iloc[:, : means.labels.shape[1]].set_axis(
        means.labels.columns, axis=1
    )
    outer = list(means.by)
    if kind == "interaction":
        inner = [name for name in labels.columns if name not in outer]
        if means.kind == "contrasts" or not inner:
            raise OptionError(
                f"kind='interaction' is for means; these are {means.kind}.",
                "It draws means over a variable.",
                "Use kind='intervals'.",
            )
        x = _variable("x", x, inner) if x is not None else inner[0]
        rest = [name for name in inner if name != x]
        if color is not None:
            color = _variable("color", color, rest)
        elif rest:
            color = rest[0]
        outer += [name for name in rest if name != color]
    elif x is not None or color is not None:
        raise OptionError(
            "x= and color= are given with kind='intervals'.",
            "They are variables of kind='interaction'.",
        )
    parts = _parts(labels, outer)
    if len(parts) > _MOST_PANELS:
        raise OptionError(
            f"There are {len(parts)} groups of {', '.join(outer)}.",
            f"At most {_MOST_PANELS} panels are drawn.",
            "Hold a variable at some of its levels with at=.",
        )
    most = max(rows.size for _, rows in parts)
    across = min(len(parts), 3)
    down = -(-len(parts) // across)
    if kind == "intervals":
        height = min(canvas.height_of_levels(most) * down, 12.0)
    else:
        height = 0.8 + 3.0 * down
    width = 5.6 if across == 1 else 1.4 + 2.8 * across
    extra = 1.3 if color is not None else 0.0
    sheet = canvas.panels(
        len(parts),
        ax=ax,
        fig=fig,
        size=(width + extra, height),
        columns=across,
        sharex=True,
        sharey=kind == "interaction",
    )
    for panel, (title, rows) in zip(sheet.axes, parts, strict=True):
        part, names = frame.iloc[rows], labels.iloc[rows]
        if kind == "intervals":
            shown = names[[c for c in names.columns if c not in outer]]
            _draw_intervals(panel, part, _names(shown), intervals)
            reference = _reference(means)
            if reference is not None:
                panel.axvline(reference, color=canvas.MUTED, lw=1.0, gid="reference")
            if reference == 1.0:
                _logarithmic(panel)
        else:
            assert x is not None
            _draw_interaction(panel, part, names, x, color, intervals)
        if title:
            panel.set_title(title, fontsize="medium")
    what = f"{means.estimate_name}, {100 * means.level:.6g} % intervals"
    words = what if intervals else means.estimate_name
    if kind == "intervals":
        inner = [name for name in labels.columns if name not in outer]
        sheet.label(words, "" if means.kind == "contrasts" else ", ".join(inner))
    else:
        sheet.label(str(x), words)
        if color is not None:
            canvas.legend_beside(sheet.axes[across - 1], color)
    return sheet.figure


def _variable(option: str, name: str, known: list[str]) -> str:
    if name not in known:
        raise OptionError(
            f"{option}: the means have no variable {name!r} to draw.",
            f"There is {', '.join(map(repr, known)) or 'none'}.",
            near(str(name), known),
        )
    return name


def _parts(labels: pd.DataFrame, by: list[str]) -> list[tuple[str, Any]]:
    """Title and rows of each panel."""
    if not by:
        return [("", np.arange(len(labels)))]
    found = labels.groupby(by, sort=False, observed=True).indices
    return [
        (_title(by, key if isinstance(key, tuple) else (key,)), np.asarray(rows))
        for key, rows in found.items()
    ]


def _names(labels: pd.DataFrame) -> list[str]:
    """One text a row; a contrast needs no parentheses where it stands alone."""
    if labels.shape[1] == 1 and not pd.api.types.is_numeric_dtype(labels.iloc[:, 0]):
        return [str(each) for each in labels.iloc[:, 0]]
    return level_labels(labels)


def _title(by: list[str], key: tuple[Any, ...]) -> str:
    return ", ".join(
        f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in zip(by, key, strict=True)
    )


def _reference(means: MarginalMeans) -> float | None:
    """No difference: 0, or 1 of ratios."""
    if means.kind == "means":
        return None
    return 1.0 if means.estimate_name.endswith("ratio") else 0.0


def _logarithmic(ax: Any) -> None:
    """A logarithmic axis with plain numbers, on which a ratio and its inverse match."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_intervals(
    ax: Any, frame: pd.DataFrame, names: list[str], intervals: bool
) -> None:
    """Estimates from above in their order."""
    count = len(frame)
    at = np.arange(count)[::-1]
    canvas.style(ax, "x")
    if intervals:
        ax.hlines(
            at,
            frame["lower"].to_numpy(),
            frame["upper"].to_numpy(),
            color=canvas.BLUE,
            linewidth=1.8 if count <= 40 else 0.8,
            gid="intervals",
        )
    ax.scatter(
        frame["estimate"].to_numpy(),
        at,
        s=canvas.size_of_points(3 * count),
        color=canvas.INK,
        linewidths=0,
        zorder=3,
        gid="estimates",
    )
    canvas.label_levels(ax, names[::-1], "")


def _draw_interaction(
    ax: Any,
    frame: pd.DataFrame,
    labels: pd.DataFrame,
    x: str,
    color: str | None,
    intervals: bool,
) -> None:
    """Estimates over x, a line for each level of another variable."""
    canvas.style(ax)
    values = labels[x]
    numeric = pd.api.types.is_numeric_dtype(values)
    order = list(dict.fromkeys(values))
    place = (
        values.to_numpy(dtype=float)
        if numeric
        else np.array([order.index(v) for v in values], dtype=float)
    )
    traces = list(dict.fromkeys(labels[color])) if color is not None else [None]
    step = float(np.ptp(place)) / max(len(order) - 1, 1) or 1.0
    for i, trace in enumerate(traces):
        rows = np.ones(len(labels), dtype=bool)
        if color is not None:
            rows = (labels[color] == trace).to_numpy()
        hue = canvas.colors(len(traces))[i]
        # Intervals side by side, not on each other.
        at = place[rows] + 0.05 * step * (i - 0.5 * (len(traces) - 1))
        part = frame[rows]
        if intervals:
            ends = part["lower"].to_numpy(), part["upper"].to_numpy()
            ax.vlines(at, *ends, color=hue, linewidth=1.4, alpha=0.7, gid="intervals")
        ax.plot(
            at,
            part["estimate"].to_numpy(),
            color=hue,
            marker=canvas.MARKERS[i % len(canvas.MARKERS)],
            linestyle=canvas.DASHES[i % len(canvas.DASHES)],
            markersize=5,
            linewidth=1.3,
            label=None if trace is None else str(trace),
            gid="estimates",
        )
    if not numeric:
        canvas.label_levels(ax, order, "", "x")
