"""A table of text cells that is written in any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lme.errors import OptionError
from lme.inference.text import (
    escape,
    escape_markdown,
    html_table,
    markdown_table,
    table,
)
from lme.report.tables import escape_csv, escape_latex


@dataclass(frozen=True, repr=False)
class Grid:
    """A table of text cells with a caption and notes.

    Attributes
    ----------
    caption : str
        Text above the table; may have several lines.
    header : tuple of str
        Titles of the columns.
    rows : tuple of tuple of str
        The cells, each row as long as `header`.
    left : tuple of int
        Columns aligned to the left; the others are aligned to the right.
    notes : tuple of str
        Text below the table.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()

    def _repr_markdown_(self) -> str:
        return self.as_markdown()

    def as_text(self) -> str:
        """Columns of plain text, as at the prompt."""
        parts = [self.caption, "", table(self.rows, self.header, self.left)]
        return "\n".join([*(parts if self.caption else parts[2:]), *self.notes])

    def as_markdown(self) -> str:
        """A pipe table of Markdown under the caption."""
        lines = [escape_markdown(line) for line in self.caption.split("\n") if line]
        text = markdown_table(self.rows, self.header, self.left)
        head = "  \n".join(lines)
        notes = "  \n".join(escape_markdown(note) for note in self.notes)
        return "\n\n".join(part for part in (head, text, notes) if part)

    def as_html(self) -> str:
        """A ``<table>`` between paragraphs."""
        lines = escape(self.caption).replace("\n", "<br/>")
        head = f"<p>{lines}</p>" if lines else ""
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"{head}{html_table(self.rows, self.header)}{notes}"

    def as_latex(self) -> str:
        """A ``table`` with a ``tabular``, which needs the booktabs package."""
        aligns = "".join(
            "l" if i in self.left else "r" for i in range(len(self.header))
        )
        lines = [
            " & ".join(escape_latex(cell) for cell in row) + r" \\"
            for row in (self.header, *self.rows)
        ]
        caption = escape_latex(self.caption.replace("\n", ". "))
        return "\n".join(
            [
                r"\begin{table}",
                *([rf"\caption{{{caption}}}"] if caption else []),
                rf"\begin{{tabular}}{{{aligns}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                *(rf"\par {escape_latex(note)}" for note in self.notes),
                r"\end{table}",
            ]
        )

    def as_csv(self) -> str:
        """Comma-separated lines, without caption and notes."""
        return "\n".join(
            ",".join(escape_csv(cell) for cell in row)
            for row in (self.header, *self.rows)
        )

    def to_markdown(self) -> str:
        """The same as `as_markdown`, under pandas' name."""
        return self.as_markdown()

    def to_frame(self) -> pd.DataFrame:
        """The cells as text, the first column as the index."""
        index = pd.Index([row[0] for row in self.rows], dtype=object)
        body = [row[1:] for row in self.rows]
        return pd.DataFrame(body, index=index, columns=list(self.header[1:]))

    def to_great_table(self) -> Any:
        """The table as a ``GT`` of the package great_tables.

        Raises
        ------
        OptionError
            If great_tables is not installed.
        """
        try:
            from great_tables import GT
        except ImportError:
            raise OptionError(
                "great_tables is not installed.",
                "It is an optional dependency.",
                "Install it: pip install 'statsmodels-lme[tables]'.",
            ) from None
        # Titles of columns need not differ, and the names of a frame's columns must.
        names = [f"column_{i}" for i in range(len(self.header))]
        frame = pd.DataFrame([list(row) for row in self.rows], columns=names)
        titles: dict[str, Any] = dict(zip(names, self.header, strict=True))
        found = GT(frame).cols_label(**titles)
        for i, name in enumerate(names):
            found = found.cols_align("left" if i in self.left else "right", [name])
        head, _, rest = self.caption.partition("\n")
        if head:
            found = found.tab_header(title=head, subtitle=rest or None)
        for note in self.notes:
            found = found.tab_source_note(note)
        return found
