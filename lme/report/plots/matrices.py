"""Images of the matrices of a model: where entries are, and how large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.inference.components import term_names
from lme.inference.internals import part
from lme.inference.working import MixedFit
from lme.report.plots import canvas

Array = NDArray[np.float64]

_CELLS = 500
"""Rows or columns up to which each entry has a cell of its own."""


def _crossproduct(name: str) -> Callable[[MixedFit], Any]:
    def compute(fit: MixedFit) -> Any:
        M = part(fit, name)
        return M @ M.T

    return compute


def _diagonal(fit: MixedFit) -> Any:
    """``S``, the diagonal of Lambda."""
    return sparse.diags_array(part(fit, "Lambda").diagonal()).tocoo()


def _triangle(fit: MixedFit) -> Any:
    """``T``, the unit lower triangle with ``Lambda = T S``."""
    found = sparse.coo_array(part(fit, "Lambda"))
    scale = found.diagonal()
    rows, columns = found.coords
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(scale[columns] != 0.0, found.data / scale[columns], 0.0)
    # A column of zeros says nothing of T: its diagonal is 1 all the same.
    values = np.where(rows == columns, 1.0, values)
    return sparse.coo_array((values, (rows, columns)), found.shape)


MATRICES: dict[str, tuple[Callable[[MixedFit], Any], str]] = {
    "X": (lambda f: part(f, "X"), "fixed-effects matrix"),
    "Z": (lambda f: part(f, "Z"), "random-effects matrix"),
    "Zt": (lambda f: part(f, "Zt"), "transposed random-effects matrix"),
    "ZtZ": (_crossproduct("Zt"), "cross-product Z'Z"),
    "Lambda": (lambda f: part(f, "Lambda"), "relative covariance factor"),
    "Lambdat": (lambda f: part(f, "Lambdat"), "transposed relative covariance factor"),
    "T": (_triangle, "unit triangle of Lambda = T S"),
    "S": (_diagonal, "diagonal of Lambda = T S"),
    "Sigma": (_crossproduct("Lambda"), "relative covariance Lambda Lambda'"),
    "A": (lambda f: part(f, "A"), "Lambda'Z' with root weights"),
    "AAt": (_crossproduct("A"), "cross-product A A'"),
    "L": (lambda f: part(f, "L"), "Cholesky factor of A A' + I"),
    "RZX": (lambda f: part(f, "RZX"), "off-diagonal block of the Cholesky factor"),
    "RX": (lambda f: part(f, "RX"), "Cholesky factor of the fixed part"),
}
"""Name -> (the matrix of a fit, what it is)."""


def plot_matrix(
    fit: MixedFit, name: str = "L", *, values: bool = True, ax: Any = None
) -> Any:
    """Draw a matrix of the model as an image.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    name : str
        A key of `MATRICES`: "X", "Z", "Zt", "ZtZ", "Lambda", "Lambdat", "T", "S",
        "Sigma", "A", "AAt", "L", "RZX" or "RX".
    values : bool
        Colour the entries by their value; otherwise show where entries are stored.
    ax : Axes, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    OptionError
        For another name.

    Notes
    -----
    White is where no entry is stored; a stored zero is grey. Of a matrix with more than
    500 rows or columns each cell is a block of entries, dark by the share that is
    stored. Random effects are ordered by term, level and column, as in `getME`.
    """
    canvas.check_choice("name", name, tuple(MATRICES))
    compute, words = MATRICES[name]
    found = sparse.coo_array(compute(fit))
    rows, columns = found.shape
    stored = found.nnz
    width = 6.0
    height = float(np.clip(width * rows / max(columns, 1), 1.6, 7.5))
    if rows > columns:
        width = float(np.clip(7.5 * columns / rows + 2.0, 3.2, 7.0))
    sheet = canvas.panels(1, ax=ax, size=(width + 0.6, height + 0.9))
    panel = sheet.axes[0]
    if max(rows, columns) > _CELLS:
        image = _shares(found)
        note = "share stored in each block"
        from matplotlib.colors import PowerNorm

        # A few entries in a large block must not be white.
        options: dict[str, Any] = {"cmap": "Greys", "norm": PowerNorm(0.4, 0.0, 1.0)}
    else:
        image, options = _cells(found, values)
        note = ""
    slender = max(rows, columns) > 12 * min(rows, columns)
    drawn = panel.imshow(
        image,
        extent=(0.5, columns + 0.5, rows + 0.5, 0.5),
        aspect="auto" if slender else "equal",
        interpolation="none",
        gid="image",
        **options,
    )
    _divide(panel, fit, name)
    shared = note or values
    if shared:
        sheet.figure.colorbar(drawn, ax=panel, shrink=0.7, pad=0.02)
    title = f"{name}: {words}\n{rows:,} by {columns:,}, {stored:,} stored"
    panel.set_title(
        f"{title}; {note}" if note else title, loc="left", fontsize="medium"
    )
    from matplotlib.ticker import MaxNLocator

    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    return sheet.figure


def _cells(found: Any, values: bool) -> tuple[Array, dict[str, Any]]:
    """An entry a cell: NaN where none is stored."""
    image = np.full(found.shape, np.nan)
    rows, columns = found.coords
    if not values:
        image[rows, columns] = 1.0
        return image, {"cmap": "Greys", "vmin": 0.0, "vmax": 1.2}
    image[rows, columns] = found.data
    size = float(np.abs(found.data).max(initial=0.0)) or 1.0
    from matplotlib.colors import LinearSegmentedColormap

    # Grey in the middle, because white is where nothing is stored.
    shades = [canvas.FAINT, canvas.PALETTE[5], canvas.BLUE, "#08204a"]
    if (found.data >= 0.0).all():
        scale = LinearSegmentedColormap.from_list("entries", shades)
        return image, {"cmap": scale, "vmin": 0.0, "vmax": size}
    shades = ["#5c2700", canvas.RED, canvas.ORANGE, *shades]
    scale = LinearSegmentedColormap.from_list("signed entries", shades)
    return image, {"cmap": scale, "vmin": -size, "vmax": size}


def _shares(found: Any) -> Array:
    """Share of entries stored in each of at most `_CELLS` blocks a side."""
    shape = tuple(min(side, _CELLS) for side in found.shape)
    rows, columns = found.coords
    at = [
        (coordinate.astype(np.int64) * cells) // side
        for coordinate, cells, side in zip(
            (rows, columns), shape, found.shape, strict=True
        )
    ]
    counts = np.bincount(at[0] * shape[1] + at[1], minlength=shape[0] * shape[1])
    sizes = [
        np.bincount((np.arange(side) * cells) // side, minlength=cells)
        for cells, side in zip(shape, found.shape, strict=True)
    ]
    return np.asarray(counts.reshape(shape) / np.outer(*sizes))


def _divide(ax: Any, fit: MixedFit, name: str) -> None:
    """Lines between the terms, and their names at the side."""
    down = name not in ("X", "Z", "RX")
    across = name not in ("X", "Zt", "A", "RZX", "RX")
    terms = [t for t in fit.design.terms if t.values.shape[1]]
    if len(terms) < 2 or not (down or across):
        return
    ends = np.cumsum([len(t.levels) * len(t.columns) for t in terms])
    for end in ends[:-1]:
        if down:
            ax.axhline(end + 0.5, color=canvas.RED, linewidth=0.8, gid="border")
        if across:
            ax.axvline(end + 0.5, color=canvas.RED, linewidth=0.8, gid="border")
    middle = ends - 0.5 * np.diff(ends, prepend=0)
    if across and len(terms) <= 6:
        labels = term_names(fit)
        for place, label in zip(middle, labels, strict=False):
            ax.annotate(
                canvas.shortened(label, 14),
                (place, 0),
                (0, -26),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                fontsize="small",
                color=canvas.RED,
            )
