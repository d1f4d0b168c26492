"""Finding families and links by name, class or instance."""

import subprocess
import sys

import pytest
import statsmodels.api as sm
from scipy import stats

from lme import families
from lme.errors import OptionError
from lme.families import FAMILIES, LINKS, Binomial, NegativeBinomial, find_link, resolve
from lme.families.links import Power, Probit

links = sm.families.links


@pytest.mark.parametrize("name", FAMILIES)
def test_names_round_trip(name):
    family = resolve(name)
    assert family.name == name
    assert type(family) is FAMILIES[name]
    assert resolve(family) is family
    assert resolve(type(family)) == family
    assert resolve(name.upper()) == family
    for link in family.links:
        linked = resolve(name, link)
        assert linked.link is LINKS[link]
        assert resolve(family, link) == linked
        assert resolve(type(family), LINKS[link]) == linked
        assert hash(resolve(name, link)) == hash(linked)
        assert str(linked) == f"{name}({link})"


def test_default_links_are_those_of_r():
    assert {name: resolve(name).link.name for name in FAMILIES} == {
        "bernoulli": "logit",
        "binomial": "logit",
        "poisson": "log",
        "gamma": "inverse",
        "inverse_gaussian": "inverse_squared",
        "gaussian": "identity",
        "negative_binomial": "log",
    }


def test_extra_parameters():
    names = {name: resolve(name).extra for name in FAMILIES}
    assert {n for n, extra in names.items() if extra == "phi"} == {
        "gamma",
        "inverse_gaussian",
        "gaussian",
    }
    assert names["negative_binomial"] == "theta"
    assert resolve("poisson").extra is None
    assert not resolve("negative_binomial").dispersion


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("inverse.gaussian", "inverse_gaussian"),
        ("InverseGaussian", "inverse_gaussian"),
        ("Gamma", "gamma"),
        ("nbinom", "negative_binomial"),
        ("NegativeBinomial", "negative_binomial"),
        ("neg_binomial", "negative_binomial"),
        (" Poisson ", "poisson"),
        ("normal", "gaussian"),
        (sm.families.Binomial, "binomial"),
        (sm.families.NegativeBinomial, "negative_binomial"),
        (sm.families.Gaussian(), "gaussian"),
        (families.Gamma, "gamma"),
    ],
)
def test_spellings(spelling, name):
    assert resolve(spelling).name == name


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("1/mu^2", "inverse_squared"),
        ("cauchy", "cauchit"),
        ("Inverse_Power", "inverse"),
        ("c-log-log", "cloglog"),
        (links.Probit, "probit"),
        (links.InversePower(), "inverse"),
        (links.Power(0.5), "sqrt"),
        (links.Power(power=-2.0), "inverse_squared"),
        (links.CDFLink(), "probit"),
        (links.CDFLink(stats.cauchy), "cauchit"),
        (Probit, "probit"),
        (Probit(), "probit"),
        (LINKS["sqrt"], "sqrt"),
    ],
)
def test_link_spellings(spelling, name):
    assert find_link(spelling).name == name


@pytest.mark.filterwarnings("ignore:Negative binomial dispersion")
def test_statsmodels_objects():
    probit = resolve(sm.families.Binomial(link=links.Probit()))
    assert str(probit) == "binomial(probit)"
    assert str(resolve(sm.families.Binomial(links.Probit()), "logit")) == (
        "binomial(logit)"
    )
    nb = resolve(sm.families.NegativeBinomial(alpha=0.5))
    assert isinstance(nb, NegativeBinomial)
    assert (nb.theta, nb.extra) == (2.0, None)
    assert resolve(sm.families.NegativeBinomial).theta is None
    assert str(resolve("poisson", links.Sqrt())) == "poisson(sqrt)"


@pytest.mark.parametrize(
    "family, link, match",
    [
        ("binomal", None, "Unknown family 'binomal'.*Did you mean 'binomial'"),
        (3.0, None, "Unknown family 3.0.*bernoulli, binomial"),
        (None, None, "Unknown family None"),
        ("binomial", "probti", "Unknown link 'probti'.*Did you mean 'probit'"),
        ("poisson", "logit", "family poisson has no link 'logit'.*log, identity, sqrt"),
        ("gamma", "probit", "family gamma has no link"),
        ("quasipoisson", None, "not available: a quasi-likelihood.*negative_binomial"),
        ("quasi", None, "quasi-likelihood is not a likelihood"),
        ("binomial", links.LogLog(), "Unknown link"),
        ("binomial", links.LogC, "Unknown link"),
        ("poisson", links.Power(3.0), "Unknown link"),
        (sm.families.Tweedie(), None, "'tweedie' is not available"),
        (sm.families.Tweedie, None, "'tweedie' is not available"),
        (object(), None, "Unknown family"),
        (links.Log(), None, "Unknown family"),
    ],
)
def test_unknown(family, link, match):
    with pytest.raises(OptionError, match=match):
        resolve(family, link)


@pytest.mark.filterwarnings("ignore:The .* link function does not respect")
def test_statsmodels_pairs_that_we_lack():
    with pytest.raises(OptionError, match="binomial has no link 'identity'"):
        resolve(sm.families.Binomial(links.Identity()))
    with pytest.raises(OptionError, match="Unknown link"):
        resolve(sm.families.Binomial(links.LogLog()))


def test_foreign_subclasses_are_not_taken_for_their_parents():
    class Shifted(links.Logit):
        def inverse(self, z):
            return 0.5 + 0.5 * super().inverse(z)

    with pytest.raises(OptionError, match="Unknown link"):
        find_link(Shifted())
    with pytest.raises(OptionError, match="Unknown link"):
        find_link(Power)


def test_old_names_of_statsmodels_links():
    """Subclasses in lower case, as statsmodels had them, mean their bases."""

    class log(links.Log):
        """As statsmodels.genmod.families.links.log was."""

    log.__module__ = links.Log.__module__
    assert find_link(log()) == find_link("log") == find_link(links.Log())


@pytest.mark.parametrize("theta", [0.0, -1.0, float("inf"), float("nan"), "log", [1]])
def test_theta(theta):
    with pytest.raises(OptionError, match="Expected a positive number"):
        NegativeBinomial(theta)


def test_equality():
    assert Binomial("probit") == Binomial(link=Probit()) != Binomial()
    assert NegativeBinomial(1.0) != NegativeBinomial()
    assert resolve("bernoulli") != resolve("binomial")


def test_statsmodels_families_are_not_imported():
    code = (
        "import sys, lme.families as f; f.resolve('binomial', 'probit');"
        "print(any(m.startswith('statsmodels.genmod') for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
