"""Numbers and small tables as text, for records and reports alike.

Notes
-----
The number of decimals of a column follows R's ``format(x, digits=)``: as many as
the smallest number (in magnitude) needs to show `digits` significant digits.
P-values follow MixedModels.jl: four decimals, or an upper bound that is a power of
ten (``<1e-16``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lme.errors import OptionError, near


def decimals(values: ArrayLike, digits: int = 4) -> int:
    """Decimals that show `digits` significant digits of the smallest value.

    Parameters
    ----------
    values : array_like
        Numbers that share a column; zeros, NaN and infinities do not count.
    digits : int
        Significant digits of the smallest magnitude.

    Returns
    -------
    int
        At least 0.

    Examples
    --------
    >>> decimals([612.0897, 35.07166, 654.941])
    2
    """
    sizes = np.abs(np.asarray(values, dtype=float).ravel())
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if sizes.size == 0:
        return max(digits - 1, 0)
    smallest = float(sizes.min())
    # Through the rounded text, because 9.9996 needs one digit less than it seems.
    exponent = int(f"{smallest:.{digits - 1}e}".split("e")[1])
    return max(digits - 1 - exponent, 0)


def numbers(values: ArrayLike, digits: int = 4) -> list[str]:
    """A column of numbers with common decimals; NaN becomes an empty string.

    Examples
    --------
    >>> numbers([24.7404, 5.9221, 25.5918])
    ['24.740', '5.922', '25.592']
    """
    array = np.asarray(values, dtype=float).ravel()
    places = decimals(array, digits)
    if places > 9:
        # One tiny value must not give every other row twenty decimals.
        return [
            "" if math.isnan(x) else "0" if x == 0 else f"{x:.{digits}g}" for x in array
        ]
    return ["" if math.isnan(x) else f"{x:.{places}f}" for x in array]


def number(value: float, digits: int = 4) -> str:
    """One number with four decimals, or more where it is small.

    Examples
    --------
    >>> [number(x) for x in (251.40510, 0.0035318, 7.01129e7, 0.0, float("nan"))]
    ['251.4051', '0.003532', '7.0113e+07', '0.0000', '']
    """
    if math.isnan(value):
        return ""
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-6:
        return f"{value:.{digits}e}"
    places = max(digits, decimals([value], digits)) if size > 0 else digits
    return f"{value:.{places}f}"


def abbreviate(names: Sequence[str], length: int = 6) -> list[str]:
    """Short forms of `names`, still different from one another.

    Parameters
    ----------
    names : sequence of str
        Different names.
    length : int
        Length aimed at; longer where the short forms would coincide.

    Returns
    -------
    list of str
        Blanks go first, then lower-case vowels from the end, then lower-case letters
        from the end, then other characters but the first; the order that R's
        ``abbreviate`` documents.

    Examples
    --------
    >>> abbreviate(["(Intercept)", "Days", "period2", "period3"])
    ['(Intr)', 'Days', 'perid2', 'perid3']
    """
    short = [_shorten(name, length) for name in names]
    longest = max(map(len, names), default=0)
    while len(set(short)) < len(short) and length < longest:
        length += 1
        short = [
            _shorten(name, length) if short.count(old) > 1 else old
            for name, old in zip(names, short, strict=True)
        ]
    return short


def _shorten(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    letters = list(name.replace(" ", ""))
    droppable = (
        lambda c: c in "aeiou",
        lambda c: c.islower(),
        lambda c: True,
    )
    for may_drop in droppable:
        for i in range(len(letters) - 1, 0, -1):
            if len(letters) <= length:
                break
            if may_drop(letters[i]):
                del letters[i]
    return "".join(letters)


P_STYLES = ("bound", "r", "fixed")
"""Ways to write small p-values: ``<1e-16``, ``<2e-16`` and ``0.0000``."""


def p_value(p: float, style: str = "bound") -> str:
    """A p-value as ``0.0123``, or as a bound such as ``<1e-16``.

    Parameters
    ----------
    p : float
        The p-value; NaN gives an empty string.
    style : {"bound", "r", "fixed"}
        How small ones are written: with the next power of ten, as MixedModels.jl; with
        three digits down to ``<2e-16``, as R; or with four decimals, as statsmodels.

    Raises
    ------
    OptionError
        For another style.

    Examples
    --------
    >>> [p_value(p) for p in (0.80042, 0.00012, 1.3e-11, 0.0, float("nan"))]
    ['0.8004', '0.0001', '<1e-10', '<1e-99', '']
    >>> [p_value(p, "r") for p in (0.80042, 0.00012, 1.3e-11, 0.0)]
    ['0.8004', '0.00012', '1.3e-11', '<2e-16']
    >>> p_value(1.3e-11, "fixed")
    '0.0000'
    """
    if style not in P_STYLES:
        raise OptionError(
            f"The style {style!r} of p-values is not known.",
            f"It must be one of {', '.join(map(repr, P_STYLES))}.",
            near(str(style), P_STYLES),
        )
    if math.isnan(p):
        return ""
    if style == "fixed" or p >= (1e-4 if style == "bound" else 1e-3):
        return f"{p:.4f}"
    if style == "r":
        return f"{p:.3g}" if p >= 2.2e-16 else "<2e-16"
    power = -99 if p <= 0 else max(math.ceil(math.log10(p)), -99)
    return f"<1e{power:03d}"


def table(
    rows: Sequence[Sequence[str]], header: Sequence[str], left: Iterable[int] = ()
) -> str:
    """Rows of text under a header, in columns as wide as their widest cell.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells, each row as long as `header`.
    header : sequence of str
        The column titles.
    left : iterable of int
        Columns aligned to the left; the others are aligned to the right.

    Returns
    -------
    str
        Lines without trailing blanks.
    """
    lefts = set(left)
    widths = [
        max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)
    ]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if i in lefts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(
    rows: Sequence[Sequence[str]], header: Sequence[str], left: Iterable[int] = ()
) -> str:
    """The same cells as a pipe table of Markdown.

    Parameters
    ----------
    rows, header, left
        As for `table`.

    Returns
    -------
    str
        Text with Markdown's own characters escaped, columns of one width.

    Examples
    --------
    >>> print(markdown_table([["Days", "<1e-10"]], ["", "p"], left=[0]))
    |      |      p |
    |:-----|-------:|
    | Days | <1e-10 |
    """
    lefts = set(left)
    cells = [
        [escape_markdown(cell).replace("|", "\\|") for cell in row]
        for row in (header, *rows)
    ]
    widths = [
        max(3, *(len(cell) for cell in column)) for column in zip(*cells, strict=True)
    ]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if i in lefts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = "|".join(
        f":{'-' * (width + 1)}" if i in lefts else f"{'-' * (width + 1)}:"
        for i, width in enumerate(widths)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def escape_markdown(text: str) -> str:
    r"""`text` in one line, with what Markdown would read as markup escaped.

    Examples
    --------
    >>> print(escape_markdown("a*b <i> <1e-16"))
    a\*b \<i> <1e-16
    """
    # A "<" before a digit, as in "<1e-16", opens no tag.
    return re.sub(r"[\\*`]|<(?=[A-Za-z/!?])", r"\\\g<0>", text).replace("\n", " ")


def html_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """The same cells as a plain HTML table.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells.
    header : sequence of str
        The column titles.

    Returns
    -------
    str
        A ``<table>`` element with escaped text.
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def escape(text: str) -> str:
    """`text` with the characters that HTML reserves replaced."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
