"""Distributions of the response and links: likelihoods as functions of eta.

`base` states what a family is, `links` the links; one module for each distribution;
`table` finds families by name. `binary` and `composition` carry derivatives from a
distribution's natural scale to the linear predictor.
"""

from lme.families.base import ExtraDerivatives, Family, Pointwise, find_link
from lme.families.binomial import Bernoulli, Binomial
from lme.families.gamma import Gamma
from lme.families.gaussian import Gaussian
from lme.families.inverse_gaussian import InverseGaussian
from lme.families.links import LINKS, Link
from lme.families.negative_binomial import NegativeBinomial
from lme.families.poisson import Poisson
from lme.families.table import FAMILIES, resolve

__all__ = [
    "FAMILIES",
    "LINKS",
    "Bernoulli",
    "Binomial",
    "ExtraDerivatives",
    "Family",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "Link",
    "NegativeBinomial",
    "Pointwise",
    "Poisson",
    "find_link",
    "resolve",
]
