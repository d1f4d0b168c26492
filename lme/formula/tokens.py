"""Cut a formula into tokens, each with its place in the text."""

from __future__ import annotations

import re
from typing import NamedTuple

from lme.errors import FormulaError

MAX_LENGTH = 50_000
"""Longest formula read, in characters."""


class Token(NamedTuple):
    """One token of a formula.

    ``kind`` is ``"number"``, ``"integer"``, ``"name"``, ``"quoted"`` (a name in
    backticks), ``"string"``, ``"op"`` or ``"end"``; ``text`` is the token without
    its quotes; ``start`` and ``end`` are 0-based offsets into the formula.
    """

    kind: str
    text: str
    start: int
    end: int


_PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>0[xX][0-9a-fA-F]+
      |(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<suffix>L)?
  | (?P<name>(?:[^\W\d_]|\.(?![0-9]))[\w.]*)
  | `(?P<quoted>(?:[^`\\]|\\.)+)`
  | "(?P<double>(?:[^"\\]|\\.)*)"
  | '(?P<single>(?:[^'\\]|\\.)*)'
  | (?P<op>%[^%\n]*%|\*\*|\|\||&&|==|!=|<=|>=|[-+*/:^~|&!<>=(),])
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}

_REMEDIES = {
    "[": "Rows or columns cannot be indexed in a formula; make a column instead.",
    "$": "Write the column's name alone; `data=` says where it lives.",
    "@": "Attributes cannot be read in a formula.",
    "{": "Blocks are not part of the formula language.",
    "_": "Put a name that begins with an underscore between backticks: `_x`.",
    ";": "Write one formula.",
    "`": "Close the backtick.",
    '"': "Close the quotation mark.",
    "'": "Close the quotation mark.",
    "#": "Comments are not part of the formula language.",
    "\u223c": "It looks like ~ but is another character. Type ~ instead.",
    "\u2223": "It looks like | but is another character. Type | instead.",
    "\u2212": "It looks like - but is another character. Type - instead.",
    "\u2217": "It looks like * but is another character. Type * instead.",
    "\u2013": "It looks like - but is another character. Type - instead.",
}


def tokenize(text: str) -> list[Token]:
    """Tokens of `text`, followed by one token of kind ``"end"``.

    Raises
    ------
    FormulaError
        At a character that begins no token, or when `text` is too long.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"The formula has {len(text)} characters.",
            f"At most {MAX_LENGTH} are read.",
            "Select columns in the data and write `.` for all of them.",
        )
    tokens = []
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            raise _unreadable(text, position)
        position = match.end()
        kind = match.lastgroup or ""
        if kind == "suffix":
            tokens.append(Token("integer", match["number"], match.start(), match.end()))
        elif kind in ("double", "single", "quoted"):
            body = _unescape(match[kind])
            kind = "quoted" if kind == "quoted" else "string"
            tokens.append(Token(kind, body, match.start(), match.end()))
        elif kind != "space":
            tokens.append(Token(kind, match[kind], match.start(), match.end()))
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens


def _unescape(body: str) -> str:
    if "\\" not in body:
        return body
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), body, flags=re.DOTALL)


def _unreadable(text: str, position: int) -> FormulaError:
    character = text[position]
    remedy = _REMEDIES.get(
        character, "Put a column name with unusual characters between backticks."
    )
    if character == "%":
        remedy = "Operators between percent signs are %in%, %% and %/%."
    return FormulaError(
        f"Unexpected character {character!r} in the formula.",
        "Expected a name, a number, a string or an operator.",
        remedy,
        text=text,
        position=position,
    )
