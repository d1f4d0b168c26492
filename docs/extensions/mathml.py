"""Equations as MathML, which browsers draw themselves: no script, no network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util.math import get_node_equation_number


def _mathml(text: str, display: str) -> str:
    # A relation, not a letter: the converter gives the tilde no space around it.
    found = convert(text.strip(), display=display)
    return found.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")


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
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_display, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
