"""R's formula language: from text and data to the matrices of a model.

text --tokens, parser--> tree --bars, expand--> terms --evaluation--> variables
--matrices, groups--> design. Nothing in a formula is ever run as Python.
"""

from lme.formula.design import build_design
from lme.formula.parts import Formula, parse_formula
from lme.formula.records import Design, NewRows, RandomTerm

__all__ = [
    "Design",
    "Formula",
    "NewRows",
    "RandomTerm",
    "build_design",
    "parse_formula",
]
