"""Sphinx configuration; the build needs no network."""

from importlib.metadata import version as installed_version

project = "lme"
author = "the statsmodels-lme developers"
copyright = f"2026, {author}"
release = installed_version("statsmodels-lme")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.doctest",
]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True
exclude_patterns = ["gallery/README*"]
# A page of another's making may refer to parts that a later version brings.
nitpicky = False

html_theme = "furo"
html_title = f"lme {release}"
pygments_style = "friendly"
