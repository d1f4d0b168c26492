"""From the scale of the linear predictor to that of the response.

A generalized model has a link; a linear one may have a transformed response, such as
``log(y) ~ ...``, which is known by its text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.families.links import LINKS, Link
from lme.formula.syntax import Call
from lme.generalized import GLMMFit
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogBase(Link):
    """Logarithms to another base, and ``log(1 + y)`` with `shift`."""

    name: str = "log"
    base: float = math.e
    shift: float = 0.0

    def mean(self, eta: Array) -> Array:
        """``base^eta - shift``."""
        return np.asarray(self.base**eta - self.shift)

    def first(self, eta: Array) -> Array:
        """``log(base) base^eta``."""
        return np.asarray(np.log(self.base) * self.base**eta)


TRANSFORMATIONS: dict[str, Link] = {
    "log": LINKS["log"],
    "log2": LogBase("log2", 2.0),
    "log10": LogBase("log10", 10.0),
    "log1p": LogBase("log1p", math.e, 1.0),
    "sqrt": LINKS["sqrt"],
}
"""Functions of the response that can be undone, by their names in formulas."""

#: What an exponentiated difference is called.
RATIOS = {"logit": "odds ratio", "log": "ratio", "log2": "ratio", "log10": "ratio"}
#: What the mean of a response is called.
MEANS = {"binomial": "prob", "bernoulli": "prob", "poisson": "rate"}


@dataclass(frozen=True)
class ResponseScale:
    """How a linear predictor becomes a mean.

    Attributes
    ----------
    link : Link
    name : str
        What the linear predictor is, such as ``logit`` or ``log(y)``.
    mean : str
        What the mean is called.
    """

    link: Link
    name: str
    mean: str

    @property
    def ratio(self) -> str:
        """What ``inverse(a - b)`` is called; empty where it means nothing."""
        return RATIOS.get(self.link.name, "")

    @property
    def ratio_link(self) -> Link:
        """The link under which a difference becomes a ratio."""
        return LINKS["log"] if self.link.name == "logit" else self.link


def response_scale(fit: MixedFit) -> ResponseScale | None:
    """The scale of the response, where it differs and the way back is known."""
    if isinstance(fit, GLMMFit):
        link = fit.family.link
        if link.name == "identity":
            return None
        mean = MEANS.get(fit.family.name, "response")
        if fit.family.extra == "theta" or hasattr(fit.family, "theta"):
            mean = "rate"
        return ResponseScale(link, link.name, mean)
    found = response_function(fit)
    if found not in TRANSFORMATIONS:
        return None
    return ResponseScale(TRANSFORMATIONS[found], fit.design.y_name, "response")


def response_function(fit: MixedFit) -> str:
    """Name of the function that a linear model's response is; empty for a column."""
    recipe = fit.design.recipe
    left: Any = None if recipe is None else recipe.formula.left
    if isinstance(fit, GLMMFit) or not isinstance(left, Call):
        return ""
    return left.function if len(left.args) == 1 else "function"
