"""Residual structures: variances that differ and correlations within groups.

``Var(e) = sigma^2 S R S``: S holds standard deviations relative to sigma (variance
functions), R the correlations of rows of one group. Their parameters are searched
beside theta. A new structure is one class here, a row in `RESIDUALS`, and a row in the
table of the formula language that says how it is written.
"""

from lme.residual.composition import Composition, compose
from lme.residual.correlation import Autoregressive, ContinuousAutoregressive
from lme.residual.protocol import Correlation, Rows, VarianceFunction
from lme.residual.variance import Exponential, Fixed, Power, Strata

RESIDUALS: dict[str, VarianceFunction | Correlation] = {
    "ar1": Autoregressive(),
    "car1": ContinuousAutoregressive(),
    "varIdent": Strata(),
    "varPower": Power(),
    "varExp": Exponential(),
    "varFixed": Fixed(),
}

__all__ = [
    "RESIDUALS",
    "Autoregressive",
    "Composition",
    "ContinuousAutoregressive",
    "Correlation",
    "Exponential",
    "Fixed",
    "Power",
    "Rows",
    "Strata",
    "VarianceFunction",
    "compose",
]
