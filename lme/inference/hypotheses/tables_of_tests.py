"""A table of tests that says how they were made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from lme.inference.text import escape, html_table, numbers, p_value, table

_WHOLE = ("npar", "Df", "NumDF")


@dataclass(frozen=True, repr=False)
class TableOfTests:
    """A frame of tests with its heading, the methods behind it, and notes.

    Attributes
    ----------
    table : DataFrame
        A row a model or a term.
    methods : tuple of str
        How each column of p-values was computed.
    notes : tuple of str
        What a reader of the table has to know.
    """

    table: pd.DataFrame
    methods: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> pd.Series:
        return self.table[column]

    def to_frame(self) -> pd.DataFrame:
        """A copy of the table; the methods are in ``attrs["methods"]``."""
        frame = self.table.copy()
        frame.attrs["methods"] = list(self.methods)
        return frame

    def heading(self) -> list[str]:
        """Lines above the table."""
        return []

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        columns = [_texts(str(name), self.table[name]) for name in self.table]
        names = [str(name) for name in self.table.index]
        rows = [list(row) for row in zip(names, *columns, strict=True)]
        return ["", *map(str, self.table.columns)], rows

    def __repr__(self) -> str:
        header, rows = self._cells()
        lines = [*self.heading(), *self.methods]
        lines.append(table(rows, header, left=(0,)))
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        header, rows = self._cells()
        above = "<br>".join(escape(line) for line in (*self.heading(), *self.methods))
        below = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        return f"<p>{above}</p>{html_table(rows, header)}{below}"


class FrameOfTests(pd.DataFrame):
    """A frame that prints the line ``attrs["heading"]`` above itself.

    It is a frame in every other respect; what is taken from it is a plain one.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _named(self) -> TableOfTests:
        return TableOfTests(self, (str(self.attrs.get("heading", "")),))

    def __repr__(self) -> str:
        return repr(self._named())

    def _repr_html_(self) -> str:
        return self._named()._repr_html_()


def with_heading(frame: pd.DataFrame, heading: str) -> pd.DataFrame:
    """The frame with a line that says how its tests were made."""
    found = FrameOfTests(frame)
    found.attrs |= frame.attrs | {"heading": heading}
    return found


def method_words(label: str) -> str:
    """How degrees of freedom were found, for a heading."""
    if label == "normal":
        return "normal and chi-square distributions"
    return f"{label} degrees of freedom"


def _texts(name: str, values: pd.Series) -> list[str]:
    """A column as text, with the digits that suit its name."""
    if name.startswith("Pr(") or name == "p":
        return [p_value(float(p)) for p in values]
    if name in _WHOLE:
        return ["" if math.isnan(x) else f"{x:.0f}" for x in values]
    return numbers(values.to_numpy(float), 4 if name in ("Chisq", "LRT") else 5)
