"""The data sets of the package: names, documentation, loading."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pandas as pd

from lme.datasets.storage import decode
from lme.errors import DataError, near

__all__ = ["Column", "Description", "describe", "list_names", "load"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a data set.

    Attributes
    ----------
    name : str
        Name in the frame.
    unit : str
        Unit of a number; "factor" or "ordered factor" for categories.
    text : str
        What the column holds.
    """

    name: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """Documentation of a data set; printing it gives a page of text.

    Attributes
    ----------
    name, title : str
        Name for `load`, and a title of one line.
    text : str
        What was measured, and how.
    source : tuple of str
        Literature references.
    columns : tuple of Column
        In the order of the frame.
    nrow : int
        Number of rows.
    formula : str
        A model to begin with.
    """

    name: str
    title: str
    text: str
    source: tuple[str, ...]
    columns: tuple[Column, ...]
    nrow: int
    formula: str

    def __str__(self) -> str:
        width = max(len(column.name) for column in self.columns)
        lines = [f"{self.name}: {self.title}", "", *textwrap.wrap(self.text, 79), ""]
        lines.append(f"{self.nrow} rows, {len(self.columns)} columns:")
        for column in self.columns:
            text = f"{column.text} ({column.unit})" if column.unit else column.text
            first = f"  {column.name:<{width}}  "
            lines += textwrap.wrap(
                text, 79, initial_indent=first, subsequent_indent=" " * len(first)
            )
        lines += ["", f"Try: {self.formula}", "", "Source:"]
        for entry in self.source:
            lines += textwrap.wrap(
                entry, 79, initial_indent="  ", subsequent_indent="    "
            )
        return "\n".join(lines)


@cache
def _registry() -> dict[str, Description]:
    text = resources.files("lme.datasets").joinpath("registry.json").read_text("utf-8")
    return {
        name: Description(
            name=name,
            title=entry["title"],
            text=entry["text"],
            source=tuple(entry["source"]),
            columns=tuple(Column(*column) for column in entry["columns"]),
            nrow=entry["nrow"],
            formula=entry["formula"],
        )
        for name, entry in json.loads(text).items()
    }


def _known(name: str) -> Description:
    registry = _registry()
    if isinstance(name, str) and name in registry:
        return registry[name]
    same = [known for known in registry if known.lower() == str(name).lower()]
    remedy = f"Did you mean {same[0]!r}?" if same else near(name, registry)
    raise DataError(
        f"There is no data set {name!r}.",
        f"Known are {', '.join(registry)}.",
        remedy or "lme.datasets.list() gives the names, with upper and lower case.",
    )


def list_names() -> list[str]:
    """Names of the data sets, for `load` and `describe`.

    Examples
    --------
    >>> import lme.datasets
    >>> lme.datasets.list()[:3]
    ['cake', 'cbpp', 'Contraception']
    """
    return sorted(_registry(), key=str.lower)


def describe(name: str) -> Description:
    """Documentation of a data set: what, where from, columns with units.

    Parameters
    ----------
    name : str
        A name from ``lme.datasets.list()``.

    Raises
    ------
    DataError
        No data set has that name.

    Examples
    --------
    >>> import lme.datasets
    >>> lme.datasets.describe("Dyestuff").title
    'Yield of a dyestuff by batch of an intermediate product'
    >>> print(lme.datasets.describe("Dyestuff"))
    Dyestuff: Yield of a dyestuff by batch of an intermediate product
    ...
    """
    return _known(name)


def load(name: str) -> pd.DataFrame:
    """Load a data set as a new frame.

    Factors are categories of strings with their levels in R's order (also when
    the labels are digits), ordered factors are ordered, missing values are NaN.

    Parameters
    ----------
    name : str
        A name from ``lme.datasets.list()``; upper and lower case matter.

    Returns
    -------
    pandas.DataFrame
        Changing it does not change what the next call returns.

    Raises
    ------
    DataError
        No data set has that name; a near spelling is suggested.

    Examples
    --------
    >>> import lme.datasets
    >>> lme.datasets.load("sleepstudy").head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    """
    file = resources.files("lme.datasets").joinpath(f"{_known(name).name}.txt.gz")
    return decode(file.read_bytes())
