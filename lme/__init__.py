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
    ProfileWarning,
    RankWarning,
    UnavailableError,
)
from lme.formula.design import build_design
from lme.formula.parts import parse_formula
from lme.glmm import GLMM, glmer
from lme.inference.bootstrap.intervals import shortest_interval
from lme.inference.bootstrap.record import Bootstrap
from lme.inference.comparison.agreement import allfit
from lme.inference.comparison.likelihood_table import anova
from lme.inference.comparison.nesting import is_nested
from lme.inference.measures.within_groups import lmList
from lme.inference.prediction.simulation_design import simulate
from lme.inference.prediction.table import Prediction
from lme.marginal_effects import for_marginaleffects
from lme.migration import from_mixedlm
from lme.model import LMM, lmer
from lme.report.plots import plot_data, plot_interaction
from lme.report.side_by_side import compare_table
from lme.restoration import restore_fit
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
    "Bootstrap",
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
    "Prediction",
    "ProfileWarning",
    "RankWarning",
    "UnavailableError",
    "allfit",
    "anova",
    "build_design",
    "compare_table",
    "datasets",
    "families",
    "for_marginaleffects",
    "from_mixedlm",
    "glmer",
    "is_nested",
    "lmList",
    "lmer",
    "parse_formula",
    "plot_data",
    "plot_interaction",
    "restore_fit",
    "shortest_interval",
    "simulate",
]
