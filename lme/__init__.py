"""Mixed-effects models with R-compatible formulas, at home in statsmodels.

Data flows one way. Each stage returns a frozen record; the next stage reads it and
nothing else::

    text --formula--> terms --design--> y, X, Z-by-term, Lambda template
      --engine--> criterion and gradient at theta (penalized least squares)
      --search--> optimum, trace, verdict
      --fit--> Fit: the frozen record of an estimated model
      --inference--> estimates, tests, intervals, predictions
      --report--> summary, tables, figures
      --model, results--> the classes users touch: thin, one-line methods

Examples
--------
>>> import lme
>>> sleep = lme.datasets.load("sleepstudy")
>>> res = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
>>> round(res.objective, 4)
1743.6283
"""

from lme import datasets, families
from lme.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    DataWarning,
    DesignError,
    FitError,
    FormulaError,
    FormulaWarning,
    GroupError,
    LMEError,
    LMEWarning,
    OptionError,
    PerformanceWarning,
    RankWarning,
)
from lme.formula.design import build_design
from lme.formula.parts import parse_formula
from lme.glmm import GLMM, glmer
from lme.inference.agreement import allfit
from lme.inference.comparison import anova
from lme.model import LMM, lmer
from lme.results import (
    GLMMResults,
    GLMMResultsWrapper,
    LMMResults,
    LMMResultsWrapper,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "GLMM",
    "LMM",
    "ConvergenceWarning",
    "DataError",
    "DataTypeError",
    "DataWarning",
    "DesignError",
    "FitError",
    "FormulaError",
    "FormulaWarning",
    "GLMMResults",
    "GLMMResultsWrapper",
    "GroupError",
    "LMEError",
    "LMEWarning",
    "LMMResults",
    "LMMResultsWrapper",
    "OptionError",
    "PerformanceWarning",
    "RankWarning",
    "allfit",
    "anova",
    "build_design",
    "datasets",
    "families",
    "glmer",
    "lmer",
    "parse_formula",
]
