"""Profiles of the likelihood: zeta, densities, and pairs of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri

from lme.errors import OptionError
from lme.inference.coverage import check_level
from lme.inference.profile.curves import Curve
from lme.inference.profile.parameters import choose_parameters
from lme.inference.profile.profiles import Profile
from lme.report.plots import canvas

Array = NDArray[np.float64]

KINDS = ("zeta", "density", "pairs")
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_POINTS = 301
_MOST_PAIRS = 8
"""Parameters in a matrix of pairs."""


def plot_profile(
    profile: Profile,
    *,
    kind: str = "zeta",
    parm: Any = None,
    levels: Sequence[float] = LEVELS,
    absolute: bool = False,
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw profiles of the deviance.

    Parameters
    ----------
    profile : Profile
        What ``res.profile()`` returns.
    kind : {"zeta", "density", "pairs"}
        The signed root of the rise of the deviance, a straight line where the
        likelihood is quadratic, with the intervals of `levels`; the density of a
        parameter whose zeta is standard normal; or joint regions of two parameters with
        the traces of their profiles (right of the diagonal on the scale of zeta).
    parm : str or sequence of str, optional
        Parameters, as for ``res.profile``; by default all that were profiled.
    levels : sequence of float
        Coverages of intervals and regions.
    absolute : bool
        Draw the size of zeta.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        For unknown kinds and parameters.

    Notes
    -----
    Profiles are of the deviance, and their middle is the maximum-likelihood estimate,
    also for a REML fit. Joint regions are missing where an estimate is on its bound,
    and where the profiles do not reach.
    """
    canvas.check_choice("kind", kind, KINDS)
    for level in levels:
        check_level(level)
    known = [p for p in profile.parameters if p.name in profile]
    names = [known[i].name for i in choose_parameters(known, parm)]
    if kind == "pairs":
        return _pairs(profile, names, levels, ax, fig)
    across = canvas.side_by_side(len(names))
    down = -(-len(names) // across)
    size = (5.6, 3.8) if across == 1 else (1.0 + 2.9 * across, 0.7 + 2.3 * down)
    sheet = canvas.panels(len(names), ax=ax, fig=fig, size=size, columns=across)
    for i, (panel, name) in enumerate(zip(sheet.axes, names, strict=True)):
        canvas.style(panel)
        if kind == "zeta":
            _draw_zeta(panel, profile[name], levels, absolute)
            label = "|zeta|" if absolute else "zeta"
        else:
            _draw_density(panel, profile[name])
            label = "density"
            panel.set_ylim(bottom=0.0)
        panel.set_xlabel(name)
        panel.set_ylabel(label if i % across == 0 else "")
    return sheet.figure


def _draw_zeta(ax: Any, curve: Curve, levels: Sequence[float], absolute: bool) -> None:
    """One profile, with its intervals."""
    frame = curve.to_frame(_POINTS)
    value, zeta = frame["value"].to_numpy(), frame["zeta"].to_numpy()
    # The estimate among the points, where the size has its kink.
    at = np.searchsorted(value, curve.estimate)
    value, zeta = np.insert(value, at, curve.estimate), np.insert(zeta, at, 0.0)
    shown = np.abs(zeta) if absolute else zeta
    ax.axhline(0.0, color=canvas.MUTED, linewidth=0.8)
    for level in levels:
        z = float(ndtri(0.5 + 0.5 * level))
        low, high = curve.limits(level)
        if absolute:
            ends = max(low, value[0]), min(high, value[-1])
            if np.isfinite(ends).all():
                ax.hlines(z, *ends, color=canvas.RED, lw=0.9, gid="interval")
        bottom = z if absolute else -z
        # A limit that is a bound of the parameter is no crossing.
        if curve.zeta[0] <= -z and np.isfinite(low):
            ax.vlines(low, 0.0, bottom, color=canvas.RED, lw=0.9, gid="interval")
        if curve.zeta[-1] >= z and np.isfinite(high):
            ax.vlines(high, 0.0, z, color=canvas.RED, lw=0.9, gid="interval")
    ax.plot(value, shown, color=canvas.BLUE, linewidth=1.6, gid="profile")
    ax.plot(curve.estimate, 0.0, "o", color=canvas.INK, markersize=4, gid="estimate")


def _draw_density(ax: Any, curve: Curve) -> None:
    frame = curve.to_frame(_POINTS)
    value, density = frame["value"].to_numpy(), frame["density"].to_numpy()
    good = np.isfinite(density)
    value, density = value[good], np.maximum(density[good], 0.0)
    ax.plot(value, density, color=canvas.BLUE, linewidth=1.6, gid="density")
    ax.fill_between(value, density, color=canvas.BLUE, alpha=0.15, linewidth=0)
    ax.axvline(curve.estimate, color=canvas.RED, linewidth=1.0, gid="estimate")


# --- pairs ----------------------------------------------------------------------------


def _pairs(
    profile: Profile, names: list[str], levels: Sequence[float], ax: Any, fig: Any
) -> Any:
    """A matrix of joint regions, the parameters on its diagonal."""
    count = len(names)
    if not 2 <= count <= _MOST_PAIRS:
        raise OptionError(
            f"kind='pairs' was asked for {count} parameters.",
            f"It shows 2 to {_MOST_PAIRS}.",
            f"Choose them with parm=; there is {', '.join(map(repr, profile))}.",
        )
    side = 1.6 + 1.75 * count
    sheet = canvas.panels(count**2, ax=ax, fig=fig, size=(side, side), columns=count)
    c = float(np.sqrt(max(chdtri(2, 1.0 - max(levels)), 0.0)))
    reach = 1.08 * min(max(c, 1.0), profile.cutoff)
    spans = {name: _span(profile[name], reach) for name in names}
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            panel = sheet.axes[i * count + j]
            if i == j:
                _name(panel, row)
                continue
            canvas.style(panel)
            on_zeta = j > i
            _draw_pair(panel, profile, column, row, levels, on_zeta)
            if on_zeta:
                panel.set_xlim(-reach, reach)
                panel.set_ylim(-reach, reach)
            else:
                panel.set_xlim(*spans[column])
                panel.set_ylim(*spans[row])
            _ticks(panel, i, j, count)
    return sheet.figure


def _span(curve: Curve, reach: float) -> tuple[float, float]:
    """Range of a parameter within a size of zeta."""
    inside = curve.values[np.abs(curve.zeta) <= reach]
    ends = curve.value([-reach, reach])
    low = ends[0] if np.isfinite(ends[0]) else inside.min()
    high = ends[1] if np.isfinite(ends[1]) else inside.max()
    margin = 0.02 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _name(ax: Any, name: str) -> None:
    """The parameter on the diagonal, in as many lines as it has parts."""
    for side in ax.spines.values():
        side.set_color(canvas.FAINT)
    ax.set_xticks([])
    ax.set_yticks([])
    text = name.replace("_", "_\n", 1).replace("|", "\n| ") if len(name) > 10 else name
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)


def _ticks(ax: Any, i: int, j: int, count: int) -> None:
    """Numbers at the left and below; of zeta at the right and above."""
    ax.tick_params(labelsize="small")
    if j > i:
        ax.tick_params(
            left=False,
            bottom=False,
            labelleft=False,
            labelbottom=False,
            labelright=j == count - 1,
            labeltop=i == 0,
        )
    else:
        ax.tick_params(labelleft=j == 0, labelbottom=i == count - 1)
        ax.locator_params(nbins=4)
        if i == count - 1:
            ax.tick_params(axis="x", labelrotation=45)


def _draw_pair(
    ax: Any,
    profile: Profile,
    first: str,
    second: str,
    levels: Sequence[float],
    on_zeta: bool,
) -> None:
    """Joint regions, and where each has its optimum while the other is held."""
    regions = profile.contours(first, second, levels)
    columns = ["zeta_first", "zeta_second"] if on_zeta else [first, second]
    for _, region in regions.groupby("level", sort=False):
        x, y = (region[column].to_numpy() for column in columns)
        ax.plot(x, y, color=canvas.BLUE, linewidth=0.9, gid="region")
    along, across = profile.trace(first, second), profile.trace(second, first)
    if on_zeta:
        lines = [
            (along["zeta_held"], along["zeta_other"]),
            (across["zeta_other"], across["zeta_held"]),
        ]
        center = (0.0, 0.0)
    else:
        lines = [(along[first], along[second]), (across[first], across[second])]
        center = (profile[first].estimate, profile[second].estimate)
    for (a, b), color in zip(lines, (canvas.RED, canvas.GREEN), strict=True):
        ax.plot(a.to_numpy(), b.to_numpy(), color=color, linewidth=0.9, gid="trace")
    ax.plot(*center, "o", color=canvas.INK, markersize=3, gid="estimate")
