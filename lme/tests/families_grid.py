"""Every family with every link it has: rows that the family tests share."""

import numpy as np

from lme.families import FAMILIES, NegativeBinomial, resolve

PAIRS = [(name, link) for name, kind in FAMILIES.items() for link in kind.links]
EXTRA = 0.4  # logarithm of phi or theta


def family_of(name, link):
    return resolve(name, link)


def usable_eta(family, low=-3.0, high=3.0, n=25):
    """Linear predictors with a valid mean, among them very small ones."""
    eta = np.linspace(low, high, n)
    if family.link.name == "log" and isinstance(family, FAMILIES["binomial"]):
        return -np.abs(eta) - 0.05
    if family.name == "gaussian" and family.link.name in ("identity", "inverse"):
        return eta + 0.01
    if family.link.name in ("identity", "inverse", "sqrt", "inverse_squared"):
        return np.abs(eta) + 0.3
    return eta


def responses(family, n):
    """Responses over the whole range, boundaries too, and prior weights."""
    k = np.arange(n)
    if family.name == "bernoulli":
        return (k % 2).astype(float), 1.0 + k % 3
    if family.name == "binomial":
        trials = 1.0 + k % 7
        return (k * 3 % (trials + 1)) / trials, trials
    if family.name in ("poisson", "negative_binomial"):
        return (k * k % 11).astype(float), 1.0 + k % 3
    if family.name == "gaussian":
        return np.sin(k) * 2, 0.5 + k % 3
    return 0.1 + k * k % 11 * 0.7, 0.5 + k % 3


def support(family, mu, weight, extra, n=4001):
    """Points and their masses (step times density) for one mean, and the log density.

    The responses are discrete, or on a grid so fine that sums are integrals.
    """
    one = np.array(mu)
    if family.name == "bernoulli":
        y, step = np.array([0.0, 1.0]), 1.0
    elif family.name == "binomial":
        y, step = np.arange(weight + 1) / weight, 1.0
    elif family.name in ("poisson", "negative_binomial"):
        y, step = np.arange(3000.0), 1.0
    elif family.name == "gaussian":
        scale = np.sqrt(np.exp(extra) / weight)
        y = mu + scale * np.linspace(-12, 12, n)
        step = y[1] - y[0]
    else:
        t = np.linspace(-30, 8, n)
        y = mu * np.exp(t)
        step = y * (t[1] - t[0])
    w = np.full_like(y, weight)
    density = family.loglik(y, w, np.full_like(y, one), extra)
    return y, w, step * np.exp(density)


ESTIMATED_THETA = NegativeBinomial()
