"""Axes to draw on, and what all figures look like.

Matplotlib is an optional dependency and takes a while to load: every function here
imports it when it is called, and nothing else in the folder does so at the top.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lme.errors import DataTypeError, OptionError, near

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#000000", "#F0E442"),
)
"""Colours that the colour-blind can tell apart (Okabe and Ito 2008)."""
BLUE, RED, GREEN, PURPLE, ORANGE = PALETTE[:5]
INK, MUTED, FAINT = "#222222", "#7f7f7f", "#d9d9d9"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))

SHOWN_LABELS = 60
"""Levels up to which each is named."""
#: Backends without windows: figures need no manager.
_SILENT = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template", "inline")


@dataclass(frozen=True)
class Sheet:
    """A figure and the axes of its panels, in reading order.

    Attributes
    ----------
    figure : Figure
    axes : tuple of Axes
    own : bool
        Whether the axes were made here, and words around them are welcome.
    place : Figure or SubFigure
        What the axes are on.
    """

    figure: Figure
    axes: tuple[Axes, ...]
    own: bool
    place: Any

    def note(self, text: str) -> None:
        """Write what a reader should know above the panels."""
        if not text:
            return
        if self.own and len(self.axes) > 1:
            self.place.suptitle(text, fontsize="medium")
        else:
            ax = self.axes[0]
            above = ax.get_title(loc="left")
            joined = f"{above}\n{text}" if above else text
            ax.set_title(joined, loc="left", fontsize="medium")

    def label(self, x: str = "", y: str = "") -> None:
        """One label for the x axes and one for the y axes of all panels."""
        if self.own and len(self.axes) > 1:
            self.place.supxlabel(x, fontsize="medium")
            self.place.supylabel(y, fontsize="medium")
        else:
            for ax in self.axes:
                ax.set_xlabel(x)
                ax.set_ylabel(y)


def _library() -> Any:
    """The class of figures, or an error that says how to get it."""
    try:
        from lme.report.plots.drawing import Drawing
    except ImportError:
        raise OptionError(
            "Figures need Matplotlib, which is not installed.",
            "It is an optional dependency.",
            "Install it: pip install 'statsmodels-lme[plots]'.",
        ) from None
    return Drawing


def new_figure(size: tuple[float, float], layout: str = "constrained") -> Any:
    """An empty figure.

    Parameters
    ----------
    size : (float, float)
        Width and height in inches.
    layout : str
        Matplotlib's layout engine.

    Notes
    -----
    It belongs to nobody, and is collected as any object. Only where the caller works
    with windows (pyplot is loaded, with an interactive backend) pyplot manages it, so
    that ``plt.show()`` shows it and ``plt.close(fig)`` closes it.
    """
    Drawing = _library()
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and _has_windows(pyplot.get_backend()):
        return pyplot.figure(FigureClass=Drawing, figsize=size, layout=layout)
    return Drawing(figsize=size, layout=layout)


def _has_windows(backend: str) -> bool:
    name = backend.lower().replace("module://", "").rpartition(".")[2]
    return name.removeprefix("backend_") not in _SILENT


def panels(
    count: int,
    *,
    ax: Any = None,
    fig: Any = None,
    size: tuple[float, float] = (6.4, 4.2),
    columns: int | None = None,
    layout: str = "constrained",
    **options: Any,
) -> Sheet:
    """Axes for `count` panels.

    Parameters
    ----------
    count : int
        At least 1.
    ax : Axes or sequence of Axes, optional
        Axes to draw on, as many as there are panels.
    fig : Figure or SubFigure, optional
        Figure to put the panels on; a new one by default.
    size : (float, float)
        Of a new figure.
    columns : int, optional
        Panels side by side; by default at most three.
    layout : str
        Of a new figure.
    **options
        Of ``Figure.subplots``, such as `sharex`.

    Raises
    ------
    OptionError
        If there are fewer or more axes than panels, and for both `ax` and `fig`.
    DataTypeError
        If `ax` or `fig` is no such thing.
    """
    _library()
    if ax is not None and fig is not None:
        raise OptionError("Both ax= and fig= are given.", "Expected one of them.")
    if ax is not None:
        return _given(ax, count)
    if fig is not None and not hasattr(fig, "subplots"):
        raise DataTypeError(
            f"fig is of type {type(fig).__name__}.",
            "Expected a figure of Matplotlib.",
        )
    columns = columns or side_by_side(count)
    rows = math.ceil(count / columns)
    figure = new_figure(size, layout) if fig is None else fig
    grid = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for unused in grid[count:]:
        unused.remove()
    return Sheet(_root(figure), tuple(grid[:count]), True, figure)


def _given(ax: Any, count: int) -> Sheet:
    found = list(np.asarray(ax, dtype=object).ravel())
    if not all(hasattr(each, "get_figure") and hasattr(each, "plot") for each in found):
        raise DataTypeError(
            f"ax is of type {type(ax).__name__}.", "Expected axes of Matplotlib."
        )
    if len(found) != count:
        raise OptionError(
            f"ax has {len(found)} axes and the figure has {count} panels.",
            "Expected as many axes as panels.",
            "Pass fig= (or nothing) for all panels, or choose fewer of them.",
        )
    place = found[0].get_figure()
    return Sheet(_root(place), tuple(found), False, place)


def _root(figure: Any) -> Any:
    while getattr(figure, "figure", figure) is not figure:
        figure = figure.figure
    return figure


def side_by_side(count: int) -> int:
    """Columns of panels: at most three, and two for four."""
    return 2 if count == 4 else min(count, 3)


# --- looks --------------------------------------------------------------------------


def style(ax: Axes, grid: str = "both") -> None:
    """Remove the box, and draw a light grid along `grid` ("x", "y", "both", "")."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]


def colors(count: int) -> list[Any]:
    """As many colours: those of `PALETTE`, or shades of one scale for more."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.92, count)))


def legend(ax: Axes, title: str | None = None, limit: int = 12, **options: Any) -> None:
    """A legend where there is something to tell apart, and not too much of it."""
    handles, labels = ax.get_legend_handles_labels()
    if 1 <= len(handles) <= limit:
        shown: dict[str, Any] = {"frameon": False, "fontsize": "small", "title": title}
        ax.legend(handles, labels, **(shown | options))


def legend_beside(ax: Axes, title: str | None = None, limit: int = 12) -> None:
    """A legend to the right of the axes, where it hides nothing."""
    legend(ax, title, limit, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def size_of_points(count: int) -> float:
    """Area of a marker: smaller where there are many."""
    return float(np.clip(3000.0 / max(count, 1), 4.0, 26.0))


def opacity(count: int) -> float:
    """Opacity of points: less where they lie on each other."""
    return float(np.clip(40.0 / math.sqrt(max(count, 1)), 0.12, 0.85))


def label_levels(ax: Axes, labels: Sequence[Any], name: str, axis: str = "y") -> None:
    """Name the levels at 0, 1, ... on an axis; only how many, where there are many."""
    count = len(labels)
    along: Any = ax.yaxis if axis == "y" else ax.xaxis
    along.set_label_text(name)
    if count > SHOWN_LABELS:
        along.set_ticks([])
        along.set_label_text(f"{name} ({count:,} levels)")
    else:
        texts = [shortened(str(label)) for label in labels]
        size = 9 if count <= 30 else 7
        along.set_ticks(np.arange(count), texts, fontsize=size)
        if axis == "x" and sum(map(len, texts)) > 45:
            ax.tick_params(axis="x", labelrotation=90 if count > 12 else 30)
    ends = -0.6, count - 0.4
    ax.set_ylim(*ends) if axis == "y" else ax.set_xlim(*ends)


def shortened(text: str, length: int = 24) -> str:
    """A label, cut where it is long."""
    return (
        text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def height_of_levels(count: int) -> float:
    """Height in inches of an axis with so many levels."""
    return float(np.clip(0.22 * count + 0.9, 2.4, 9.0))


# --- choices ------------------------------------------------------------------------


def check_choice(option: str, value: Any, choices: Sequence[Any]) -> Any:
    """Refuse a value that is none of the choices, which the message lists."""
    # By equality, because an array or a list cannot be looked up.
    if not any(
        value is each or (isinstance(value, str) and value == each) for each in choices
    ):
        raise OptionError(
            f"{option}={value!r} is not known.",
            f"It must be one of {', '.join(map(repr, choices))}.",
            near(str(value), [str(each) for each in choices]),
        )
    return value


def chosen(option: str, value: Any, known: Sequence[str]) -> list[str]:
    """Names that an option gives (one, several, or None for all), all of them known."""
    if value is None:
        return list(known)
    wanted = (
        [value] if isinstance(value, str) or not np.iterable(value) else list(value)
    )
    for each in wanted:
        if each not in known:
            raise OptionError(
                f"{option}: there is no {each!r}.",
                f"There is {', '.join(map(repr, known))}.",
                near(str(each), known),
            )
    if not wanted:
        raise OptionError(
            f"{option} is empty.", f"There is {', '.join(map(repr, known))}."
        )
    return [str(each) for each in dict.fromkeys(wanted)]


def evenly(count: int, limit: int) -> Any:
    """Positions of at most `limit` of `count` things, first and last among them."""
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(int))


def check_count(option: str, value: Any, least: int = 1) -> int:
    """Refuse what is no whole number from `least`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise OptionError(
            f"{option}={value!r} is not possible.",
            f"It must be a whole number, at least {least}.",
        )
    return int(value)
