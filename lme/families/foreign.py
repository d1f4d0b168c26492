"""Names that other packages give to families and links.

statsmodels' objects are told by the names of their classes, so that nothing of
statsmodels has to be imported to recognise them.

References
----------
.. [1] Seabold, S. & Perktold, J. (2010). statsmodels: Econometric and statistical
   modeling with Python. Proc. 9th Python in Science Conf., 92-96.
"""

from __future__ import annotations

_LINK_SPELLINGS = {
    "1/mu^2": "inverse_squared",
    "1/mu**2": "inverse_squared",
    "1/mu": "inverse",
    "inverse_power": "inverse",
    "reciprocal": "inverse",
    "cauchy": "cauchit",
    "logistic": "logit",
}
_LINK_CLASSES = {
    "Logit": "logit",
    "Probit": "probit",
    "CLogLog": "cloglog",
    "Cauchy": "cauchit",
    "Log": "log",
    "Identity": "identity",
    "InversePower": "inverse",
    "Sqrt": "sqrt",
    "InverseSquared": "inverse_squared",
}
# statsmodels writes eta = mu^power, the inverse exponent of ours.
_POWERS = {1.0: "identity", -1.0: "inverse", 0.5: "sqrt", -2.0: "inverse_squared"}
_DISTRIBUTIONS = {"norm": "probit", "cauchy": "cauchit", "logistic": "logit"}
_PACKAGE = "statsmodels.genmod.families"


def foreign_class(given: object) -> type | None:
    """The class of a statsmodels family or link, given as instance or class."""
    kind = given if isinstance(given, type) else type(given)
    # A subclass made elsewhere may override anything, so it is not recognised.
    return kind if kind.__module__.startswith(_PACKAGE) else None


def link_name(given: object) -> str | None:
    """Our name for a link given by name or as an object of statsmodels.

    Examples
    --------
    >>> link_name("1/mu^2"), link_name("Log")
    ('inverse_squared', 'log')
    """
    if isinstance(given, str):
        name = given.strip().lower().replace(" ", "").replace("-", "")
        return _LINK_SPELLINGS.get(name, name)
    kind = foreign_class(given)
    if kind is None:
        return None
    if kind.__name__ == "Power":
        return _POWERS.get(float(getattr(given, "power", 1.0)))
    if kind.__name__ == "CDFLink":
        distribution = getattr(given, "dbn", None)
        return _DISTRIBUTIONS.get(getattr(distribution, "name", "norm"))
    # statsmodels' deprecated lower-case names are subclasses of the present ones.
    if kind.__name__.islower() and kind.__bases__:
        kind = kind.__bases__[0]
    return _LINK_CLASSES.get(kind.__name__)


_FAMILY_CLASSES = {
    "Binomial": "binomial",
    "Poisson": "poisson",
    "Gaussian": "gaussian",
    "Gamma": "gamma",
    "InverseGaussian": "inverse_gaussian",
    "NegativeBinomial": "negative_binomial",
    "Tweedie": "tweedie",
}
_FAMILY_SPELLINGS = {
    "inversegaussian": "inverse_gaussian",
    "negativebinomial": "negative_binomial",
    "negbinomial": "negative_binomial",
    "negbin": "negative_binomial",
    "nbinom": "negative_binomial",
    "nbinom2": "negative_binomial",
    "nb": "negative_binomial",
    "nb2": "negative_binomial",
    "normal": "gaussian",
}


def family_name(given: object) -> str | None:
    """Our name for a family given by name or as an object of statsmodels.

    Examples
    --------
    >>> family_name("inverse.gaussian"), family_name("Gamma")
    ('inverse_gaussian', 'gamma')
    """
    if isinstance(given, str):
        name = given.strip().lower()
        bare = name.replace(".", "").replace("_", "").replace(" ", "").replace("-", "")
        return _FAMILY_SPELLINGS.get(bare, name)
    kind = foreign_class(given)
    return None if kind is None else _FAMILY_CLASSES.get(kind.__name__)


def foreign_link(given: object) -> object:
    """The link of an instance of statsmodels' families; None for anything else."""
    if foreign_class(given) is None or isinstance(given, type):
        return None
    return getattr(given, "link", None)


def family_theta(given: object) -> float | None:
    """``theta = 1 / alpha`` of an instance of statsmodels' NegativeBinomial."""
    if family_name(given) != "negative_binomial" or isinstance(given, (str, type)):
        return None
    return 1.0 / float(getattr(given, "alpha", 1.0))
