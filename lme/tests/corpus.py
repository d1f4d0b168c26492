"""Three hundred hard models: near-singular, badly scaled, few groups, separated, ...

Each is made from its number alone. Only uniform numbers are drawn; all others are
quantiles of them, so that the data do not change with the version of NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

import lme
from lme.families import NegativeBinomial

#: Models of each kind.
EACH = 8


class Draw:
    """Numbers for one model, by inversion of uniforms."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(77_000 + number))

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        return low + (high - low) * self.rng.random(size)

    def normal(self, *size: int) -> Any:
        return special.ndtri(self.rng.random(size or None))

    def power(self, low: float, high: float) -> float:
        """Ten to a uniform power."""
        return float(10.0 ** self.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return int(low + np.floor(self.rng.random() * (high - low + 1)))

    def order(self, n: int) -> Any:
        return np.argsort(self.rng.random(n), kind="stable")

    def levels(self, n: int, count: int) -> Any:
        """Levels of n rows at random, all of them occurring."""
        out = np.floor(self.rng.random(n) * count).astype(int)
        out[self.order(n)[:count]] = np.arange(count)
        return out

    def effects(self, groups: Any, columns: Any, factor: Any) -> Any:
        """``Z b`` with ``b = factor u`` for each group."""
        u = self.normal(int(groups.max()) + 1, len(factor))
        return np.einsum("np,np->n", columns, (u @ np.asarray(factor).T)[groups])


@dataclass(frozen=True)
class HardCase:
    """One model of the corpus.

    Attributes
    ----------
    options : dict
        Keyword arguments of `lme.lmer` or `lme.glmer`.
    fit_options : dict
        Keyword arguments of ``fit``.
    unique : bool
        Whether the covariance parameters are identified, by construction.
    separated : bool
        Whether coefficients have no finite estimates, by construction.
    """

    id: str
    kind: str
    formula: str
    frame: pd.DataFrame
    family: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    fit_options: dict[str, Any] = field(default_factory=dict)
    unique: bool = True
    separated: bool = False

    def model(self) -> Any:
        if self.family is None:
            return lme.lmer(self.formula, self.frame, **self.options)
        return lme.glmer(self.formula, self.frame, family=self.family, **self.options)

    def fit(self, **changes: Any) -> Any:
        return self.model().fit(**{**self.fit_options, **changes})


def rows(groups: int, each: int) -> Any:
    return np.repeat(np.arange(groups), each)


def grouped(d: Draw, groups: int, each: int, **more: Any) -> pd.DataFrame:
    """Balanced groups with two covariates within them."""
    g = rows(groups, each)
    n = g.size
    return pd.DataFrame({"g": g, "x": d.normal(n), "x2": d.normal(n), **more})


def columns(frame: pd.DataFrame, *names: str) -> Any:
    parts = [np.ones(len(frame)), *(frame[name].to_numpy() for name in names)]
    return np.column_stack(parts)


def correlated(sd1: float, sd2: float, r: float) -> Any:
    return [[sd1, 0.0], [sd2 * r, sd2 * np.sqrt(max(0.0, 1.0 - r * r))]]


# ----------------------------------------------------------------- linear models


def near_singular(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 25), d.whole(4, 8))
    r = (1.0 - d.power(-7.0, -2.0)) * (1.0 if d.uniform(0, 1) < 0.5 else -1.0)
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.5, r))
    f["y"] = 2.0 + f.x + z + d.power(-2.0, 0.3) * d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def perfect_correlation(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 20), d.whole(3, 8))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.7, 1.0))
    f["y"] = f.x + z + d.power(-1.5, 0.3) * d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def no_slope_variance(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 20), d.whole(4, 8))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 1)]])
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x + x2 | g)", "frame": f}


def no_effect_at_all(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(4, 15), d.whole(3, 6))
    f["h"] = d.levels(len(f), 5)
    f["y"] = d.normal(len(f))
    return {"formula": "y ~ x + (x | g) + (1 | h)", "frame": f}


def few_groups(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(2, 4), d.whole(6, 15))
    f["h"] = d.levels(len(f), d.whole(2, 4))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 1)]])
    z = z + d.effects(f.h.to_numpy(), columns(f), [[d.power(-1, 1)]])
    f["y"] = 3.0 + z + d.normal(len(f))
    return {"formula": "y ~ x + (1 | g) + (1 | h)", "frame": f}


def few_groups_slopes(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(3, 5), d.whole(5, 12))
    factor = correlated(d.power(-1, 1), d.power(-1, 1), d.uniform(-1, 1))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), factor)
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def tiny_variance(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 30), d.whole(5, 12))
    size = d.power(-5.0, -0.5)
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(size, size, 0.3))
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def tiny_residual(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 20), d.whole(4, 8))
    size = d.power(1.0, 5.0)
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(size, size, -0.4))
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def scaled_covariate(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 20), d.whole(4, 8))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.6, 0.2))
    f["y"] = f.x + z + d.normal(len(f))
    # Year numbers and the like: far from zero, in strange units.
    f["x"] = (f.x + d.power(0.0, 4.0)) * d.power(-8.0, 8.0)
    return {"formula": "y ~ x + (x | g)", "frame": f}


def scaled_response(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 20), d.whole(4, 8))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.3, 0.2))
    f["y"] = (d.power(0, 5) + f.x + z + d.normal(len(f))) * d.power(-20.0, 20.0)
    return {"formula": "y ~ x + (x | g)", "frame": f}


def two_slopes_few_rows(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 15), d.whole(4, 6))
    size = d.uniform(0.1, 1.0)
    factor = size * np.tril(d.normal(3, 3))
    z = d.effects(f.g.to_numpy(), columns(f, "x", "x2"), factor)
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x + x2 | g)", "frame": f}


def three_slopes(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 14), d.whole(6, 9))
    f["x3"] = d.normal(len(f))
    factor = np.tril(d.normal(4, 4)) * d.power(-1.0, 0.3)
    factor[:, d.whole(1, 3)] = 0.0
    z = d.effects(f.g.to_numpy(), columns(f, "x", "x2", "x3"), factor)
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x + x2 + x3 | g)", "frame": f}


def nested(d: Draw) -> dict[str, Any]:
    outer, inner = d.whole(3, 8), d.whole(2, 4)
    f = grouped(d, outer * inner, d.whole(2, 4))
    f["a"] = f.g // inner
    z = d.effects(f.a.to_numpy(), columns(f), [[d.power(-3, 1)]])
    z = z + d.effects(f.g.to_numpy(), columns(f), [[d.power(-3, 1)]])
    f["y"] = z + d.normal(len(f))
    return {"formula": "y ~ x + (1 | a / g)", "frame": f}


def crossed_slopes(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(6, 10))
    f["h"] = d.levels(len(f), d.whole(5, 10))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.3, 0.9))
    z = z + d.effects(f.h.to_numpy(), columns(f), [[d.power(-2, 0.5)]])
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x | g) + (x | h)", "frame": f}


def uncorrelated(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 15), d.whole(4, 8))
    factor = np.diag([d.power(-3, 1), d.power(-3, 1), d.power(-3, 1)])
    z = d.effects(f.g.to_numpy(), columns(f, "x", "x2"), factor)
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x + x2 || g)", "frame": f}


def unbalanced(d: Draw) -> dict[str, Any]:
    sizes = np.floor(60.0 * 0.6 ** np.arange(12)).astype(int) + 1
    g = np.repeat(np.arange(12), sizes)
    f = pd.DataFrame({"g": g, "x": d.normal(g.size)})
    z = d.effects(g, columns(f, "x"), correlated(d.power(-1, 1), d.power(-2, 0), 0.5))
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def no_intercept(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(2, 5), d.whole(5, 10))
    f["h"] = d.levels(len(f), d.whole(2, 5))
    f["y"] = d.power(-1, 3) + f.x + d.normal(len(f))
    f["y"] += d.effects(f.h.to_numpy(), columns(f), [[0.5]])
    return {"formula": "y ~ 0 + x + (1 | g) + (1 | h)", "frame": f}


def weighted(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 15), d.whole(4, 8))
    f["w"] = 10.0 ** d.uniform(-4.0, 4.0, len(f))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.5, 0.5))
    f["y"] = f.x + z + d.normal(len(f)) / np.sqrt(f.w)
    return {
        "formula": "y ~ x + (x | g)",
        "frame": f,
        "options": {"weights": "w"},
    }


def term_twice(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 15), d.whole(3, 6))
    f["y"] = d.effects(f.g.to_numpy(), columns(f), [[2.0]]) + d.normal(len(f))
    f["h"] = f.g
    return {"formula": "y ~ x + (1 | g) + (1 | h)", "frame": f, "unique": False}


def outliers(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 15), d.whole(4, 8))
    noise = np.tan(np.pi * (d.rng.random(len(f)) - 0.5))
    f["y"] = d.effects(f.g.to_numpy(), columns(f), [[1.0]]) + noise
    return {"formula": "y ~ x + (x | g)", "frame": f}


def collinear_slopes(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 20), d.whole(5, 8))
    f["x2"] = f.x + d.power(-5.0, -1.0) * f.x2
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.5, 0.1))
    f["y"] = f.x + z + d.normal(len(f))
    return {"formula": "y ~ x + (x + x2 | g)", "frame": f}


def structured(d: Draw) -> dict[str, Any]:
    wave = np.tile(np.arange(4), d.whole(8, 20) * 2)
    f = pd.DataFrame({"g": np.arange(wave.size) // 8, "t": [f"t{w}" for w in wave]})
    f["x"] = d.normal(len(f))
    u = d.normal(int(f.g.max()) + 1, 4)
    r = d.uniform(-0.2, 0.99)
    for j in range(1, 4):
        u[:, j] = r * u[:, j - 1] + np.sqrt(1 - r * r) * u[:, j]
    f["y"] = d.power(-1, 0.5) * u[f.g, wave] + d.normal(len(f))
    kinds = ("cs", "ar1", "homcs", "hetar1", "toep", "diag", "homdiag", "homtoep")
    return {"formula": f"y ~ x + {kinds[d.whole(0, 7)]}(0 + t | g)", "frame": f}


def few_rows_left(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 15), 4)
    factor = np.tril(d.normal(3, 3))
    z = d.effects(f.g.to_numpy(), columns(f, "x", "x2"), factor)
    f["y"] = f.x + z + d.power(-2, 0) * d.normal(len(f))
    return {"formula": "y ~ x + x2 + (x + x2 | g)", "frame": f}


def covariate_of_groups(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 20), d.whole(3, 6))
    between = d.normal(int(f.g.max()) + 1)
    f["x"] = np.where(f.g % 3 == 0, f.x, between[f.g])
    f["y"] = f.x + d.effects(f.g.to_numpy(), columns(f), [[1.0]]) + d.normal(len(f))
    return {"formula": "y ~ x + (x | g)", "frame": f}


def smallest(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(2, 4), d.whole(2, 3))
    f["y"] = d.effects(f.g.to_numpy(), columns(f), [[1.0]]) + d.normal(len(f))
    return {"formula": "y ~ 1 + (1 | g)", "frame": f}


# ------------------------------------------------------------ generalized models


def bernoulli(d: Draw, eta: Any) -> Any:
    return (d.rng.random(eta.size) < special.expit(eta)).astype(float)


def binary_few_groups(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(3, 6), d.whole(10, 20))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 0.3)]])
    f["y"] = bernoulli(d, 0.3 + 0.5 * f.x + z)
    return {"formula": "y ~ x + (1 | g)", "frame": f, "family": "bernoulli"}


def binary_slopes(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(10, 15), d.whole(6, 10))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(1.0, 0.5, 0.95))
    f["y"] = bernoulli(d, 0.3 + 0.5 * f.x + z)
    return {"formula": "y ~ x + (x | g)", "frame": f, "family": "bernoulli"}


def separated(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(6, 10))
    f["t"] = (f.index % 2).astype(float)
    f["y"] = bernoulli(d, d.normal(len(f)))
    f.loc[f.t == 1.0, "y"] = 1.0
    return {
        "formula": "y ~ t + (1 | g)",
        "frame": f,
        "family": "bernoulli",
        "separated": True,
    }


def groups_all_alike(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 14), d.whole(4, 6))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.uniform(3.0, 6.0)]])
    f["y"] = bernoulli(d, 0.5 + z)
    return {"formula": "y ~ 1 + (1 | g)", "frame": f, "family": "bernoulli"}


def binary_no_variance(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 14), d.whole(5, 10))
    f["h"] = d.levels(len(f), 6)
    f["y"] = bernoulli(d, 0.5 * f.x)
    return {"formula": "y ~ x + (1 | g) + (1 | h)", "frame": f, "family": "bernoulli"}


def many_trials(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(3, 6))
    f["n"] = np.floor(10.0 ** d.uniform(0.0, 5.0, len(f))) + 1.0
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-2, 0)]])
    p = special.expit(-2.0 + 0.5 * f.x + z)
    f["s"] = stats.binom.ppf(d.rng.random(len(f)), f.n, p)
    f["y"] = f.s / f.n
    options = {"weights": "n"}
    return {
        "formula": "y ~ x + (1 | g)",
        "frame": f,
        "family": "binomial",
        "options": options,
    }


def rare_counts(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 15), d.whole(5, 9))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 0.2)]])
    f["y"] = stats.poisson.ppf(d.rng.random(len(f)), np.exp(-1.5 + 0.3 * f.x + z))
    return {"formula": "y ~ x + (1 | g)", "frame": f, "family": "poisson"}


def large_counts(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(4, 7))
    z = d.effects(f.g.to_numpy(), columns(f, "x"), correlated(0.5, 0.1, 0.5))
    mean = np.exp(d.uniform(4.0, 11.0) + 0.3 * f.x + z)
    f["y"] = np.floor(mean + np.sqrt(mean) * d.normal(len(f))).clip(0)
    return {"formula": "y ~ x + (x | g)", "frame": f, "family": "poisson"}


def scaled_counts(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(5, 8))
    f["time"] = 10.0 ** d.uniform(-3.0, 3.0, len(f))
    z = d.effects(f.g.to_numpy(), columns(f), [[0.5]])
    mean = f.time * np.exp(0.3 * f.x + z)
    f["y"] = stats.poisson.ppf(d.rng.random(len(f)), mean)
    f["o"] = np.log(f.time)
    f["x"] = (f.x + d.power(0.0, 3.0)) * d.power(-6.0, 6.0)
    return {
        "formula": "y ~ x + (1 | g)",
        "frame": f,
        "family": "poisson",
        "options": {"offset": "o"},
    }


def gamma_times(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(5, 8))
    shape = d.power(-0.3, 2.0)
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-2, 0)]])
    noise = stats.gamma.ppf(d.uniform(1e-6, 1.0 - 1e-6, len(f)), shape) / shape
    f["y"] = np.exp(1.0 + 0.3 * f.x + z) * noise + 1e-12
    family = lme.families.Gamma(link="log")
    return {"formula": "y ~ x + (1 | g)", "frame": f, "family": family}


def scattered_counts(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(6, 12), d.whole(6, 10))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 0)]])
    mean = np.exp(1.5 + 0.3 * f.x + z)
    size = d.power(-0.3, 2.0)  # beyond about 30 next to a Poisson
    f["y"] = stats.nbinom.ppf(d.rng.random(len(f)), size, size / (size + mean))
    return {"formula": "y ~ x + (1 | g)", "frame": f, "family": NegativeBinomial()}


def quadrature(d: Draw) -> dict[str, Any]:
    f = grouped(d, d.whole(8, 14), d.whole(4, 8))
    z = d.effects(f.g.to_numpy(), columns(f), [[d.power(-1, 0.7)]])
    f["y"] = bernoulli(d, 0.5 * f.x + z)
    return {
        "formula": "y ~ x + (1 | g)",
        "frame": f,
        "family": "bernoulli",
        "fit_options": {"nAGQ": 9},
    }


KINDS: tuple[Callable[[Draw], dict[str, Any]], ...] = (
    near_singular,
    perfect_correlation,
    no_slope_variance,
    no_effect_at_all,
    few_groups,
    few_groups_slopes,
    tiny_variance,
    tiny_residual,
    scaled_covariate,
    scaled_response,
    two_slopes_few_rows,
    three_slopes,
    nested,
    crossed_slopes,
    uncorrelated,
    unbalanced,
    no_intercept,
    weighted,
    term_twice,
    outliers,
    collinear_slopes,
    structured,
    few_rows_left,
    covariate_of_groups,
    smallest,
    binary_few_groups,
    binary_slopes,
    separated,
    groups_all_alike,
    binary_no_variance,
    many_trials,
    rare_counts,
    large_counts,
    scaled_counts,
    gamma_times,
    scattered_counts,
    quadrature,
)

#: Name of each model, with its maker and number.
NAMES: dict[str, tuple[Callable[[Draw], dict[str, Any]], int]] = {
    f"{maker.__name__}_{i}": (maker, EACH * k + i)
    for k, maker in enumerate(KINDS)
    for i in range(EACH)
}
# 37 kinds of eight models, and four more of the two that have failed before.
NAMES |= {
    f"{maker.__name__}_{EACH + i}": (maker, 1000 * (k + 1) + i)
    for k, maker in enumerate((two_slopes_few_rows, few_rows_left))
    for i in range(2)
}


def hard_case(name: str) -> HardCase:
    """The model of a name in `NAMES`."""
    maker, number = NAMES[name]
    parts = maker(Draw(number))
    frame = parts["frame"]
    for group in ("g", "h", "a"):
        if group in frame:
            frame[group] = pd.Categorical([f"{group}{c}" for c in frame[group]])
    # Every other linear model by maximum likelihood.
    if "family" not in parts:
        parts.setdefault("options", {})["REML"] = number % 2 == 0
    return HardCase(name, maker.__name__, **parts)
