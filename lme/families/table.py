"""The table of families, and finding one by whatever names it."""

from __future__ import annotations

from lme.errors import OptionError, near
from lme.families.base import Family
from lme.families.binomial import Bernoulli, Binomial
from lme.families.foreign import family_name, family_theta, foreign_link
from lme.families.gamma import Gamma
from lme.families.gaussian import Gaussian
from lme.families.inverse_gaussian import InverseGaussian
from lme.families.negative_binomial import NegativeBinomial
from lme.families.poisson import Poisson

FAMILIES: dict[str, type[Family]] = {
    "bernoulli": Bernoulli,
    "binomial": Binomial,
    "poisson": Poisson,
    "gamma": Gamma,
    "inverse_gaussian": InverseGaussian,
    "gaussian": Gaussian,
    "negative_binomial": NegativeBinomial,
}
_REFUSED = {
    "tweedie": "its density has no closed form",
    "quasi": "a quasi-likelihood is not a likelihood",
    "quasibinomial": "a quasi-likelihood is not a likelihood; add a random effect"
    " for each row, (1 | row), for overdispersion",
    "quasipoisson": "a quasi-likelihood is not a likelihood; use"
    " family='negative_binomial' or a random effect for each row, (1 | row)",
}


def resolve(family: object, link: object = None) -> Family:
    """The family that a name, class or instance stands for.

    Parameters
    ----------
    family : str, Family, or a family of statsmodels (instance or class)
        Names are those of `FAMILIES`; "inverse.gaussian" and "nbinom" work too.
    link : str, Link, or a link of statsmodels, optional
        Takes the place of the family's own link.

    Raises
    ------
    OptionError
        For unknown names, and for links that the family does not have.

    Examples
    --------
    >>> str(resolve("binomial", "probit"))
    'binomial(probit)'
    """
    if isinstance(family, Family):
        return family if link is None else family.with_link(link)
    if isinstance(family, type) and issubclass(family, Family):
        return family(link=link)
    name = family_name(family)
    if name in FAMILIES:
        chosen = foreign_link(family) if link is None else link
        theta = family_theta(family)
        if theta is not None:
            return NegativeBinomial(theta, chosen)
        return FAMILIES[name](link=chosen)
    expected = f"Expected one of {', '.join(FAMILIES)}."
    if name in _REFUSED:
        raise OptionError(
            f"The family {name!r} is not available: {_REFUSED[name]}.", expected
        )
    raise OptionError(
        f"Unknown family {family!r}.", expected, near(name or "", FAMILIES)
    )
