"""Tables of the documentation from ``benchmarks/validation.json``.

``.. validated:: coverage`` shows the rows of the simulations whose name begins so: a
row for each method, a column for each design. Of several coefficients or deviations of
one design the mean is shown.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst.states import RSTState
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

PATH = Path(__file__).parents[2] / "benchmarks" / "validation.json"

#: What is shown as one quantity: its name, and how its rows in the file begin.
QUANTITIES = {
    "coverage": {
        "coefficients": ("coverage of (Intercept)", "coverage of x", "coverage of z"),
        "standard deviations": ("coverage of sd_",),
        "sigma": ("coverage of sigma",),
        "new observations": ("coverage of new observations",),
    },
    "size": {
        "coefficients": ("size for x", "size for z"),
        "a variance of zero": ("size for a variance of zero",),
    },
    "bias": {
        "variances": ("relative bias of var ",),
        "sigma^2": ("relative bias of sigma^2",),
    },
    "failures": {"not converged": ("not converged",)},
}


def table(subject: str, rows: list[dict]) -> list[list[str]]:
    """Header and rows as text: quantity, method, and percentages by design."""
    designs = list(dict.fromkeys(row["study"] for row in rows))
    out = [["", "method", *designs]]
    for quantity, beginnings in QUANTITIES[subject].items():
        chosen = [row for row in rows if row["what"].startswith(beginnings)]
        for method in dict.fromkeys(row["method"] for row in chosen):
            line = [quantity, method]
            for design in designs:
                values = [
                    row["value"]
                    for row in chosen
                    if (row["study"], row["method"]) == (design, method)
                ]
                mean = sum(values) / len(values) if values else None
                line.append("" if mean is None else f"{100.0 * mean:.1f}")
            out.append(line)
    return out


class Validated(SphinxDirective):
    """The table of one subject."""

    required_arguments = 1
    state: RSTState

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(PATH))
        rows = json.loads(PATH.read_text())
        lines = table(self.arguments[0], rows)
        text = [".. list-table::", "   :header-rows: 1", ""]
        for line in lines:
            for number, cell in enumerate(line):
                text.append(f"   {'*' if number == 0 else ' '} - {cell}")
        holder = nodes.Element()
        self.state.nested_parse(StringList(text, source=str(PATH)), 0, holder)
        return holder.children


def setup(app) -> dict[str, bool]:
    app.add_directive("validated", Validated)
    return {"parallel_read_safe": True}
