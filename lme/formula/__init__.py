"""R's formula language: from text and data to the matrices of a model.

text --tokens, parser--> tree --bars, expand--> terms --evaluation--> variables
--matrices, groups--> design. Nothing in a formula is ever run as Python.
"""

from lme.formula.design import build_design
from lme.formula.functions import register
from lme.formula.parts import Formula, parse_formula
from lme.formula.records import Design, NewRows, RandomTerm
from lme.formula.revision import revise
from lme.formula.selection import select_random

__all__ = [
    "Design",
    "Formula",
    "NewRows",
    "RandomTerm",
    "build_design",
    "parse_formula",
    "register",
    "revise",
    "select_random",
]
