"""Equations as MathML, which browsers draw themselves: no script, no network."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util.math import get_node_equation_number

#: Environments that carry an index or a prime as one thing.
_GROUPED = re.compile(r"(\\begin\{(pmatrix)\}.*?\\end\{\2\})", re.DOTALL)
_ROUND = re.compile(r"<mo>&#x00028;</mo><mtable>(.*?)</mtable><mo>&#x00029;</mo>")
_NAMED = re.compile(r"(<m[io]>(?:log|exp|dim|tr|var|cov|sign)</m[io]>)(?=<m[^o])")


def _mathml(text: str, display: str) -> str:
    text = _GROUPED.sub(r"{\1}", text.strip())
    for brace, word in ((r"\{", r"\lbrace "), (r"\}", r"\rbrace ")):
        for size in ("Bigl", "Bigr", "bigl", "bigr"):
            text = text.replace(f"\\{size}{brace}", word)
    found = convert(text, display=display)
    # A relation, not a letter: the converter gives the tilde no space around it.
    found = found.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    # A bar around a determinant is a bracket, not an operator between two things.
    for bar in ("&#x0007C;", "&#x02016;"):
        for mo in ("<mo>", '<mo stretchy="false">'):
            found = found.replace(
                f"{mo}{bar}</mo>",
                f'<mo stretchy="false" lspace="0" rspace="0">{bar}</mo>',
            )
    found = _NAMED.sub(r'\1<mspace width="0.17em"></mspace>', found)
    # Where no font has tall parentheses, borders of the table stand for them.
    return _ROUND.sub(r'<mtable class="round">\1</mtable>', found)


def visit_inline(self, node):
    """Write an inline formula."""
    self.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_display(self, node):
    """Write a displayed equation, with its number where it has a label."""
    number = ""
    attributes = {"CLASS": "equation"}
    if node["ids"]:
        attributes["ids"] = node["ids"]
    if node["number"]:
        number = f'<span class="eqno">({get_node_equation_number(self, node)})</span>'
    self.body.append(self.starttag(node, "div", "", **attributes))
    self.body.append(f"{_mathml(node.astext(), 'block')}{number}</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
