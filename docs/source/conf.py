"""Sphinx configuration; the build needs no network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from lme import datasets

sys.path.insert(0, str(Path(__file__).parents[1] / "extensions"))

project = "lme"
author = "the statsmodels-lme developers"
copyright = f"2026, {author}"
release = installed_version("statsmodels-lme")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "drawn_figures",
    "lenient_names",
    "mathml",
    "validated",
]
autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autoclass_content = "class"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "name"
nitpicky = True

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"lme {release}"
pygments_style = "friendly"


class Datasets(Directive):
    """A section for every data set, from the registry that `describe` reads."""

    def run(self):
        lines = []
        for name in datasets.list():
            about = datasets.describe(name)
            lines += [name, "-" * len(name), "", f"**{about.title}.** {about.text}", ""]
            lines += [f"{about.nrow} rows. Try ``{about.formula}``.", ""]
            lines += [".. list-table::", "   :widths: 18 52 30", ""]
            for column in about.columns:
                lines += [f"   * - ``{column.name}``", f"     - {column.text}"]
                lines += [f"     - {column.unit}"]
            lines += ["", *(f"*Source.* {entry}\n" for entry in about.source), ""]
        text = StringList("\n".join(lines).split("\n"), "registry.json")
        self.state_machine.insert_input(text, "registry.json")
        return []


def setup(app):
    """Register the directive."""
    app.add_directive("datasets", Datasets)
