"""Data as they are, before any model: by groups, along a covariate, in panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.report.plots import canvas, trellis
from lme.report.plots.clouds import draw_cloud
from lme.report.plots.curves import jitter as displaced
from lme.report.plots.curves import normal_quantiles
from lme.report.plots.variables import (
    Request,
    Variable,
    levels_of,
    means_by,
    read_request,
    read_variables,
    response_numbers,
    sequence,
)

Array = NDArray[np.float64]

KINDS = ("dots", "trellis", "lines", "points", "qq")
ORDERS = ("mean", "level", "intercept")


def plot_data(
    formula: str,
    data: Any,
    *,
    kind: str | None = None,
    color: str | None = None,
    panels: Any = None,
    order: str | None = None,
    jitter: bool = True,
    mean_line: bool = True,
    smooth: bool | None = None,
    aspect: Any = "banked",
    max_panels: int = trellis.MAX_PANELS,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw data by groups.

    Parameters
    ----------
    formula : str
        ``y ~ 1 | g`` for the response by levels of g; ``y ~ x | g`` for a panel a
        level, with its own least-squares line; ``y ~ x`` for points; ``y ~ 1`` for a
        sample. Parts may be expressions, ``log(y) ~ x | a:b``. A response of two levels
        counts as 0 and 1.
    data : DataFrame or mapping
        As for `lmer`. Rows with a missing value are left out.
    kind : {"dots", "trellis", "lines", "points", "qq"}, optional
        By default "dots" where x is 1 or a factor, "trellis" for ``y ~ x | g``, else
        "points". "lines" joins the points of each group in common axes (a spaghetti
        plot). "qq" sets the means of the groups, in an area by their number of rows
        (of ``y ~ 1`` the response itself), against normal quantiles.
    color : str, optional
        A factor whose levels get colours (dots, lines, points, qq).
    panels : str or sequence of str, optional
        Factors whose (combined) levels get panels; in a trellis these are the groups.
    order : {"mean", "level", "intercept"}, optional
        Of the groups: by the mean of the response (default of dots), as the factor has
        them, or by the intercept of their line (default of a trellis).
    jitter : bool
        Move dots a little across, so that equal ones are seen.
    mean_line : bool
        Join the means of the groups (dots).
    smooth : bool, optional
        Add a local regression (points: default; lines).
    aspect : "banked", float or None
        Height of a trellis panel over its width: such that the median slope is 45
        degrees, a number, or as the figure allows.
    max_panels : int
        Panels of a trellis; of more groups some are shown, evenly along the order.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    FormulaError, DataError, DataTypeError
        For formulas and data that cannot be used.
    OptionError
        For options outside their set.

    Examples
    --------
    >>> import lme
    >>> from lme.report.plots import plot_data
    >>> dyestuff = lme.datasets.load("Dyestuff")
    >>> figure = plot_data("Yield ~ 1 | Batch", dyestuff)
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['F', 'D', 'A', 'B', 'C', 'E']
    """
    request = read_request(formula)
    if kind is not None:
        canvas.check_choice("kind", kind, KINDS)
    if order is not None:
        canvas.check_choice("order", order, ORDERS)
    names = sequence("panels", panels)
    wanted = {
        "y": request.response,
        "x": request.right[0] if request.right else None,
        "group": request.group,
        "color": color,
        "panels": ":".join(names) or None,
    }
    found = read_variables(data, wanted, formula)
    found["y"] = response_numbers(found["y"])
    for use in ("group", "color", "panels"):
        if use in found:
            found[use] = levels_of(found[use])
    chosen = _settled(request, found, kind)
    if chosen == "trellis":
        shown = aspect, max_panels, order or "intercept", ax, fig
        return _trellis(found, *shown)
    parts = _panels(found)
    rows = [each for _, each in parts]
    across = _across(len(parts))
    sheet = canvas.panels(
        len(parts),
        ax=ax,
        fig=fig,
        size=_size(chosen, found, rows),
        columns=across,
        sharex=chosen != "qq",
        sharey=chosen in ("lines", "points"),
    )
    for axes, (title, some) in zip(sheet.axes, parts, strict=True):
        inside = {use: each.part(some) for use, each in found.items()}
        if chosen == "dots":
            _dots(axes, inside, order or "mean", jitter, mean_line)
        elif chosen == "qq":
            _quantiles(axes, inside)
        else:
            shown_smooth = smooth if smooth is not None else chosen == "points"
            draw_cloud(axes, inside, joined=chosen == "lines", smooth=shown_smooth)
        if title:
            axes.set_title(title, fontsize="medium")
    if len(parts) > 1:
        _share_labels(sheet, across)
    if "color" in found:
        canvas.legend_beside(sheet.axes[across - 1], found["color"].name)
    return sheet.figure


def _settled(request: Request, found: dict[str, Variable], kind: str | None) -> str:
    """The kind of figure, and x moved to the groups where it is a factor."""
    factor = "x" in found and found["x"].is_factor
    if factor and "group" not in found and kind in (None, "dots", "qq"):
        found["group"] = found.pop("x")
    if kind is None:
        if "x" not in found:
            kind = "dots" if "group" in found else "qq"
        else:
            kind = "trellis" if "group" in found else "points"
    lacking = {
        "dots": ("group",),
        "trellis": ("x", "group"),
        "lines": ("x", "group"),
        "points": ("x",),
        "qq": (),
    }[kind]
    examples = {"dots": "y ~ 1 | g", "points": "y ~ x"}
    if any(use not in found for use in lacking) or (kind == "dots" and "x" in found):
        raise OptionError(
            f"kind={kind!r} does not go with {request.text!r}.",
            f"It draws a formula such as {examples.get(kind, 'y ~ x | g')!r}.",
        )
    if kind == "trellis":
        for use in ("color", "panels"):
            if use in found:
                raise OptionError(
                    f"{use}= does not go with kind='trellis'.",
                    "Its panels are the groups behind the bar.",
                    "Use kind='lines' for colours and further panels.",
                )
    return kind


def _panels(found: dict[str, Variable]) -> list[tuple[str, Any]]:
    """Title and rows of each panel."""
    if "panels" not in found:
        return [("", slice(None))]
    by = found["panels"]
    name = by.name
    if len(by.levels) > trellis.MAX_PANELS:
        raise OptionError(
            f"panels={by.name!r} has {len(by.levels)} levels.",
            f"At most {trellis.MAX_PANELS} panels are drawn.",
        )
    return [(f"{name}: {level}", by.codes == i) for i, level in enumerate(by.levels)]


def _across(count: int) -> int:
    """Panels side by side."""
    return count if count <= 3 else min(4, int(np.ceil(np.sqrt(count))))


def _share_labels(sheet: canvas.Sheet, across: int) -> None:
    """Names of the axes once for all panels, numbers below the last of each column."""
    if not sheet.own:
        return
    first = sheet.axes[0]
    x, y = first.get_xlabel(), first.get_ylabel()
    for i, axes in enumerate(sheet.axes):
        axes.set_xlabel("")
        axes.set_ylabel("")
        if i >= len(sheet.axes) - across:
            axes.tick_params(axis="x", labelbottom=True)
    sheet.label(x, y)


def _size(
    kind: str, found: dict[str, Variable], rows: list[Any]
) -> tuple[float, float]:
    across = _across(len(rows))
    down = -(-len(rows) // across)
    height = 3.9
    if kind == "dots":
        most = max(np.unique(found["group"].values[some]).size for some in rows)
        height = canvas.height_of_levels(most)
    width = 6.4 if across == 1 else 1.2 + (3.1 if across < 4 else 2.3) * across
    if down > 1:
        height = min(height, 2.2 if kind == "dots" else 2.8)
    return width + ("color" in found) * 1.2, min(height * down, 12.0)


# --- kinds --------------------------------------------------------------------------


def _dots(
    ax: Any, found: dict[str, Variable], order: str, jitter: bool, mean_line: bool
) -> None:
    """The response along x, the groups from below in their order."""
    y, by = found["y"].values, found["group"]
    count = len(by.levels)
    means = means_by(by.codes, y, count)
    here = np.flatnonzero(np.isfinite(means))
    if order == "intercept":
        order = "mean"
    if order == "mean":
        here = here[np.argsort(means[here], kind="stable")]
    place = np.full(count, -1)
    place[here] = np.arange(here.size)
    at = place[by.codes].astype(float)
    across = displaced(y.size, 0.14) if jitter else np.zeros(y.size)
    look = {"s": canvas.size_of_points(y.size), "alpha": canvas.opacity(y.size)}
    canvas.style(ax, "x" if here.size > canvas.SHOWN_LABELS else "both")
    several = "color" in found
    shades = found["color"] if several else Variable("", np.zeros(y.size), ("",))
    hues = canvas.colors(len(shades.levels))
    for i, level in enumerate(shades.levels):
        rows = shades.codes == i
        if not rows.any():
            continue
        ax.scatter(
            y[rows],
            (at + across)[rows],
            color=hues[i],
            marker=canvas.MARKERS[i % len(canvas.MARKERS)] if several else "o",
            linewidths=0,
            label=level if several else None,
            gid="points",
            rasterized=y.size > 5000,
            **look,
        )
        if mean_line:
            inside = means_by(by.codes[rows], y[rows], count)[here]
            known = np.isfinite(inside)
            color = hues[i] if several else canvas.RED
            ax.plot(
                inside[known], np.flatnonzero(known), color=color, lw=1.4, gid="means"
            )
    canvas.label_levels(ax, [by.levels[i] for i in here], by.name)
    ax.set_xlabel(found["y"].name)


def _quantiles(ax: Any, found: dict[str, Variable]) -> None:
    """Sorted responses, or means of groups, against normal quantiles."""
    y = found["y"].values
    several = "color" in found
    shades = found["color"] if several else Variable("", np.zeros(y.size), ("",))
    hues = canvas.colors(len(shades.levels))
    canvas.style(ax)
    for i, level in enumerate(shades.levels):
        rows = shades.codes == i
        values, area = y[rows], np.full(rows.sum(), canvas.size_of_points(y.size))
        if "group" in found:
            by = found["group"].part(rows)
            sizes = np.bincount(by.codes, minlength=len(by.levels))
            values = means_by(by.codes, values, len(by.levels))[sizes > 0]
            sizes = sizes[sizes > 0]
            area = 8.0 + 60.0 * sizes / max(sizes.max(), 1)
        order = np.argsort(values, kind="stable")
        ax.scatter(
            values[order],
            normal_quantiles(values.size),
            s=area[order],
            facecolors="none",
            edgecolors=hues[i],
            label=level if several else None,
            gid="points",
        )
    means = "group" in found
    ax.set_xlabel(f"mean {found['y'].name}" if means else found["y"].name)
    ax.set_ylabel("normal quantile")
    if means:
        ax.set_title(
            f"means of {found['group'].name}; areas by rows",
            loc="left",
            fontsize="small",
        )


def _trellis(
    found: dict[str, Variable], aspect: Any, most: int, order: str, ax: Any, fig: Any
) -> Any:
    """A panel a group, with its least-squares line."""
    x, y, by = found["x"], found["y"].values, found["group"]
    rows = [np.flatnonzero(by.codes == i) for i in range(len(by.levels))]
    lines = [_line(x.values[each], y[each]) for each in rows]
    key = {
        "level": np.arange(len(rows), dtype=float),
        "mean": np.array([y[each].mean() for each in rows]),
        "intercept": np.array([intercept for intercept, _ in lines]),
    }[order if not x.is_factor or order != "intercept" else "mean"]
    ordered = np.argsort(key, kind="stable")
    ordered = ordered[trellis.pick_panels(len(rows), most)]
    drawn = []
    for i in ordered:
        own = {} if x.is_factor or lines[i][1] is None else {"within": lines[i][1]}
        drawn.append(trellis.Panel(by.levels[i], x.values[rows[i]], y[rows[i]], own))
    look = trellis.Look(
        x.name,
        found["y"].name,
        {"within": {"color": canvas.BLUE, "linewidth": 1.4}},
        x.levels,
        joined=x.is_factor,
    )
    note = ""
    if len(drawn) < len(rows):
        note = f"{len(drawn)} of {len(rows):,} {by.name}, evenly by {order}"
    return trellis.draw(drawn, look, aspect=aspect, note=note, ax=ax, fig=fig).figure


def _line(x: Array, y: Array) -> tuple[float, Any]:
    """Intercept, and ends of the least-squares line; the mean where x is constant."""
    center = x.mean()
    spread = float(((x - center) ** 2).sum())
    if not spread > 0.0:
        return float(y.mean()), None
    slope = float(((x - center) * (y - y.mean())).sum()) / spread
    ends = np.array([x.min(), x.max()])
    intercept = float(y.mean()) - slope * float(center)
    return intercept, (ends, intercept + slope * ends)
