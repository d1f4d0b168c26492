"""Replicates of a bootstrap: densities, histograms, ridges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError, OptionError
from lme.inference.bootstrap.intervals import INTERVALS, intervals
from lme.inference.bootstrap.record import Bootstrap
from lme.inference.coverage import check_level
from lme.inference.profile.parameters import choose_parameters
from lme.report.plots import canvas
from lme.report.plots.curves import density

Array = NDArray[np.float64]

KINDS = ("density", "hist", "ridge")
_AT_BOUND = 1e-10


def plot_bootstrap(
    boot: Bootstrap,
    *,
    kind: str = "density",
    parm: Any = None,
    bins: int | None = None,
    variance: bool = False,
    overlay: bool = False,
    standardize: bool = True,
    level: float = 0.95,
    interval: str = "percentile",
    ax: Any = None,
    fig: Any = None,
) -> Any:
    """Draw the distribution of the replicates.

    Parameters
    ----------
    boot : Bootstrap
        What ``res.bootstrap()`` returns.
    kind : {"density", "hist", "ridge"}
        A kernel density or a histogram for each parameter, or densities above each
        other in common axes.
    parm : str or sequence of str, optional
        Parameters, as for ``boot.confint``; by default all.
    bins : int, optional
        Of histograms; by default as the replicates suggest (Freedman and Diaconis).
    variance : bool
        Square standard deviations.
    overlay : bool
        Densities of all parameters in one panel, for standard deviations of groups.
    standardize : bool
        Ridges of the replicates minus the estimate, in bootstrap standard errors, so
        that parameters of any scale can be compared.
    level : float
        Coverage of the interval at the foot.
    interval : {"percentile", "basic", "normal", "shortest"}
        Its kind.
    ax, fig : optional
        Axes (as many as panels), or a figure, to draw on.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    Densities end at the bounds of a parameter. Standard deviations of exactly zero are
    no part of a density, whose area is the share of the others: a line at zero has
    theirs.
    """
    canvas.check_choice("kind", kind, KINDS)
    canvas.check_choice("interval", interval, tuple(INTERVALS))
    check_level(level)
    if bins is not None:
        canvas.check_count("bins", bins)
    chosen = choose_parameters(boot.parameters, parm)
    samples = [_Sample(boot, i, variance, level, interval) for i in chosen]
    if kind == "ridge":
        return _ridges(samples, standardize, ax, fig)
    if overlay:
        if kind != "density":
            raise OptionError("overlay=True draws densities.", "Use kind='density'.")
        return _overlaid(samples, ax, fig)
    across = canvas.side_by_side(len(samples))
    down = -(-len(samples) // across)
    size = (5.6, 3.8) if across == 1 else (1.0 + 2.9 * across, 0.7 + 2.3 * down)
    sheet = canvas.panels(len(samples), ax=ax, fig=fig, size=size, columns=across)
    for i, (panel, sample) in enumerate(zip(sheet.axes, samples, strict=True)):
        canvas.style(panel)
        if kind == "hist":
            _draw_histogram(panel, sample, bins)
        else:
            _draw_density(panel, sample, canvas.BLUE)
        _mark(panel, sample)
        panel.set_xlabel(sample.name)
        word = "replicates" if kind == "hist" else "density"
        panel.set_ylabel(word if i % across == 0 else "")
    return sheet.figure


class _Sample:
    """Replicates of one parameter."""

    def __init__(
        self, boot: Bootstrap, place: int, variance: bool, level: float, interval: str
    ) -> None:
        parameter = boot.parameters[place]
        column = boot.values[:, place]
        self.values: Array = column[np.isfinite(column)]
        if not self.values.size:
            raise FitError(
                f"No replicate has a value of {parameter.name!r}.",
                "Expected replicates to draw.",
            )
        self.name = parameter.name
        self.estimate = float(boot.estimates[place])
        self.low, self.high = parameter.bounds
        ends = intervals(
            self.values[:, None], np.array([self.estimate]), interval, level
        )[0]
        self.interval = float(ends[0]), float(ends[1])
        is_deviation = parameter.kind in ("sd", "sigma")
        if variance and is_deviation:
            self.name = f"{parameter.name} squared"
            self.values = self.values**2
            self.estimate **= 2
            self.interval = self.interval[0] ** 2, self.interval[1] ** 2
        bounded = is_deviation or parameter.kind == "cor"
        size = max(abs(self.estimate), float(np.abs(self.values).max()), 1e-300)
        at_low = bounded & (np.abs(self.values - self.low) <= _AT_BOUND * size)
        self.at_low = float(np.mean(at_low)) if is_deviation else 0.0
        self.free = self.values[~at_low] if is_deviation else self.values

    def density(self) -> tuple[Array, Array]:
        """Density of the replicates off the bound; its area is their share."""
        x, y = density(self.free, self.low, self.high)
        return x, y * (1.0 - self.at_low)


def _draw_density(ax: Any, sample: _Sample, color: Any, **options: Any) -> None:
    x, y = sample.density()
    ax.plot(x, y, color=color, linewidth=1.6, gid="density", **options)
    ax.fill_between(x, y, color=color, alpha=0.15, linewidth=0)
    top = float(y.max()) if y.size else 1.0
    if sample.at_low > 0.0:
        bound = sample.low
        ax.vlines(bound, 0.0, top, color=color, linewidth=2.5, gid="at bound")
        ax.annotate(
            f"{100 * sample.at_low:.3g} % at {bound:g}",
            (bound, top),
            (4, 2),
            textcoords="offset points",
            fontsize="small",
            color=color,
        )
        top *= 1.12
    low, high = ax.get_ylim()
    ax.set_ylim(0.0, max(high if low >= 0.0 else 0.0, 1.05 * top))


def _draw_histogram(ax: Any, sample: _Sample, bins: int | None) -> None:
    values = sample.values
    chosen: Any = bins
    if bins is None:
        edges = np.histogram_bin_edges(values, "fd")
        chosen = int(np.clip(edges.size - 1, 10, 200))
    ax.hist(values, bins=chosen, color=canvas.BLUE, edgecolor="white", linewidth=0.2)
    if sample.at_low > 0.0:
        ax.set_title(
            f"{100 * sample.at_low:.3g} % at {sample.low:g}",
            loc="left",
            fontsize="small",
        )


def _mark(ax: Any, sample: _Sample) -> None:
    """The estimate, and the interval at the foot."""
    ax.axvline(sample.estimate, color=canvas.RED, linewidth=1.0, gid="estimate")
    ax.plot(
        sample.interval,
        [0.0, 0.0],
        color=canvas.INK,
        linewidth=3.5,
        solid_capstyle="butt",
        clip_on=False,
        zorder=5,
        gid="interval",
    )


def _overlaid(samples: list[_Sample], ax: Any, fig: Any) -> Any:
    sheet = canvas.panels(1, ax=ax, fig=fig, size=(6.4, 4.0))
    panel = sheet.axes[0]
    canvas.style(panel)
    hues = canvas.colors(len(samples))
    for i, (sample, color) in enumerate(zip(samples, hues, strict=True)):
        dash = canvas.DASHES[i % len(canvas.DASHES)]
        _draw_density(panel, sample, color, label=sample.name, linestyle=dash)
    canvas.legend(panel)
    panel.set_xlabel("value")
    panel.set_ylabel("density")
    return sheet.figure


def _ridges(samples: list[_Sample], standardize: bool, ax: Any, fig: Any) -> Any:
    """Densities above each other, the first parameter on top."""
    count = len(samples)
    height = float(np.clip(0.55 * count + 1.2, 2.6, 12.0))
    sheet = canvas.panels(1, ax=ax, fig=fig, size=(6.4, height))
    panel = sheet.axes[0]
    canvas.style(panel, "x")
    for i, sample in enumerate(samples):
        base = count - 1 - i
        x, y = sample.density()
        shift, unit = 0.0, 1.0
        if standardize:
            shift = sample.estimate
            unit = float(sample.values.std(ddof=1)) if sample.values.size > 1 else 1.0
            unit = unit if unit > 0 else 1.0
        top = float(y.max()) if y.size else 1.0
        place = (x - shift) / unit
        panel.fill_between(
            place,
            base,
            base + 0.85 * y / top,
            color=canvas.BLUE,
            alpha=0.45,
            linewidth=0.8,
            zorder=count - base,
            gid="ridge",
        )
        ends = [(end - shift) / unit for end in sample.interval]
        look: dict[str, Any] = {
            "color": canvas.INK,
            "solid_capstyle": "butt",
            "zorder": count + 1,
        }
        panel.plot(ends, [base, base], linewidth=3.0, gid="interval", **look)
        at = (sample.estimate - shift) / unit
        panel.plot(at, base, "|", color=canvas.RED, markersize=12, zorder=count + 2)
        if sample.at_low > 0.0:
            zero = (sample.low - shift) / unit
            panel.vlines(zero, base, base + 0.85, color=canvas.BLUE, lw=2.5)
    names = [sample.name for sample in samples][::-1]
    panel.set_yticks(np.arange(count), names)
    panel.set_ylim(-0.35, count + 0.05)
    panel.set_xlabel(
        "replicate minus estimate, in bootstrap standard errors"
        if standardize
        else "value"
    )
    return sheet.figure
