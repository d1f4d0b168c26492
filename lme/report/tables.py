"""Tables in text, HTML, LaTeX and CSV on top of statsmodels' ``Summary``."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import SimpleTable

from lme.inference.text import escape

MIN_WIDTH = 78

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def escape_latex(text: str) -> str:
    """`text` with the characters that LaTeX reserves replaced."""
    return "".join(_LATEX.get(character, character) for character in text)


def escape_csv(text: str) -> str:
    """`text` as one field of a comma-separated line."""
    text = text.strip()
    if any(character in text for character in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _data_cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _header_cell(text: str) -> str:
    return f"<th>{escape(text)}</th>"


def simple_table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] | None = None,
    *,
    title: str = "",
    aligns: str = "",
) -> SimpleTable:
    """A statsmodels table of text cells, escaped for each output format.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells; all rows of one length.
    header : sequence of str, optional
        Titles of the columns.
    title : str
        Title, the caption in HTML.
    aligns : str
        ``l`` or ``r`` for each column; by default the first is left, others right.

    Returns
    -------
    SimpleTable
        Without rules in text; `Report` draws them.
    """
    columns = len(rows[0]) if rows else len(header or ())
    aligns = aligns or "l" + "r" * (columns - 1)
    table = SimpleTable(
        [list(row) for row in rows],
        title=title,
        data_aligns=aligns,
        txt_fmt={
            "colsep": "  ",
            "table_dec_above": None,
            "table_dec_below": None,
            "title_align": "l",
        },
        html_fmt={"data_fmts": [_data_cell]},
        csv_fmt={"data_fmts": [escape_csv]},
        ltx_fmt={"data_fmts": [escape_latex], "replacements": {}},
    )
    if header is not None:
        # As a row of data the header is escaped and aligned like its column.
        table.insert(0, list(header))
        table[0].add_format("html", data_fmts=[_header_cell])
        for number, cell in enumerate(table[0]):
            cell.datatype = number
    return table


class Report(Summary):
    """statsmodels' ``Summary`` with sections of one width.

    Parameters
    ----------
    title : str
        First line.
    tables : sequence of SimpleTable
        The sections, each with its own title.
    notes : sequence of str
        Footnotes.
    """

    def __init__(
        self, title: str, tables: Sequence[SimpleTable], notes: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.title = title
        self.tables = list(tables)
        self.notes = list(notes)
        if notes:
            self.extra_txt = "\n".join(
                ["Notes:", *(f"[{i}] {note}" for i, note in enumerate(notes, start=1))]
            )

    def __repr__(self) -> str:
        return self.as_text()

    def as_text(self) -> str:
        """The sections below one another, separated by rules.

        Returns
        -------
        str
            Text of at least 78 columns; lines carry no trailing blanks.
        """
        blocks = [str(table.as_text()) for table in self.tables]
        lines = [line.rstrip() for block in blocks for line in block.split("\n")]
        width = max([MIN_WIDTH, *map(len, lines)])
        parts = [self.title.center(width).rstrip(), "=" * width]
        for i, block in enumerate(blocks):
            if i:
                parts.append("-" * width)
            parts += [line.rstrip() for line in block.split("\n")]
        parts.append("=" * width)
        if self.extra_txt:
            parts.append("Notes:")
            for i, note in enumerate(self.notes, start=1):
                parts += _wrap(f"[{i}] {note}", width)
        return "\n".join(parts)

    def as_latex(self) -> str:
        """One ``tabular`` a section, which needs the booktabs package."""
        parts = [rf"\textbf{{{escape_latex(self.title)}}}"]
        for table in self.tables:
            if table.title:
                parts.append(rf"\paragraph{{{escape_latex(table.title)}}}")
            parts.append(str(table.as_latex_tabular()))
        parts += [rf"\noindent {escape_latex(note)}\newline" for note in self.notes]
        return "\n".join(parts)

    def as_html(self) -> str:
        """One ``table`` a section, with captions and escaped text."""
        parts = [f"<p><b>{escape(self.title)}</b></p>"]
        parts += [str(table.as_html()) for table in self.tables]
        parts += [
            f"<p>[{i}] {escape(n)}</p>" for i, n in enumerate(self.notes, start=1)
        ]
        return "\n".join(parts)

    def as_csv(self) -> str:
        """The sections below one another as comma-separated lines."""
        parts = [escape_csv(self.title)]
        for table in self.tables:
            rows = [[escape_csv(str(cell.data)) for cell in row] for row in table]
            if table.title:
                parts.append(escape_csv(table.title))
            parts += [",".join(row) for row in rows]
        parts += [escape_csv(note) for note in self.notes]
        return "\n".join(parts)


def _wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width`, the later ones indented."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(word) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
