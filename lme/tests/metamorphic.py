"""Random models whose fits must not, or must in a known way, depend on their writing.

`linear_models` and `generalized_models` draw a model with its data; `agree` compares
two fits of one model, in units that mean something: coefficients in standard errors,
means and covariances in residual standard deviations, or on the link scale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import lme

#: Objectives agree to this, relatively and absolutely.
OBJECTIVE = 1e-8
#: Estimates agree to this, in standard errors or standard deviations. The criterion is
#: quadratic at its minimum: a difference of 1e-9 in it is 3e-5 of these.
ESTIMATE = 2e-4

FIXED = ("1", "x", "x + f", "x * f", "0 + f + x", "x + z + f")
BARS = (
    *("(1 | {})", "(x | {})", "(0 + x | {})", "(x || {})", "(x + z | {})"),
    *("(f | {})", "cs(0 + f | {})", "(1 | {}) + (0 + x | {})"),
)
COLUMNS = (1, 2, 1, 2, 3, 3, 3, 2)


@dataclass(frozen=True)
class RandomModel:
    """A formula in parts, its data and its options."""

    fixed: str
    bars: tuple[str, ...]
    frame: pd.DataFrame = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    reml: bool = False
    family: Any = None
    number: int = 0

    @property
    def formula(self) -> str:
        return f"y ~ {' + '.join((self.fixed, *self.bars))}"

    @property
    def groups(self) -> list[str]:
        return [name for name in "ghk" if name in self.frame]

    @property
    def rng(self) -> np.random.Generator:
        """For the relation that is tried: other numbers than those of the data."""
        return np.random.default_rng([self.number, 1])

    def model(self) -> Any:
        if self.family is None:
            options = {"REML": self.reml, **self.options}
            return lme.lmer(self.formula, self.frame, **options)
        return lme.glmer(self.formula, self.frame, family=self.family, **self.options)

    def fit(self, **options: Any) -> Any:
        return self.model().fit(**options)

    def on(self, frame: pd.DataFrame | None = None, **columns: Any) -> "RandomModel":
        """The model with other data."""
        data = self.frame if frame is None else frame
        return replace(self, frame=data.assign(**columns))

    def with_options(self, **options: Any) -> "RandomModel":
        return replace(self, options={**self.options, **options})


def levels(rng, n, count):
    """Levels of n rows, all of them occurring."""
    out = rng.integers(0, count, n)
    out[rng.permutation(n)[:count]] = np.arange(count)
    return out


def groupings(rng, n, layout, sizes):
    """Codes of each grouping factor, the first with most levels."""
    out = [levels(rng, n, sizes[0])]
    for count in sizes[1:]:
        if layout == "nested":
            out.append(levels(rng, int(out[-1].max()) + 1, count)[out[-1]])
        elif layout == "partly crossed":
            near = (out[-1] * count) // (int(out[-1].max()) + 1)
            out.append(np.minimum(near + rng.integers(0, 2, n), count - 1))
        else:
            out.append(levels(rng, n, count))
    return [np.unique(codes, return_inverse=True)[1] for codes in out]


@st.composite
def designs(draw, largest):
    """Data without a response, the fixed part, the random terms, and a predictor."""
    number = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(number)
    n = int(rng.integers(*draw(st.sampled_from([(14, 22), (30, 60), (50, largest)]))))
    layout = draw(st.sampled_from(["nested", "crossed", "partly crossed"]))
    top = max(4, n // 4)
    sizes = sorted(rng.integers(3, top + 1, draw(st.integers(1, 3))).tolist())[::-1]
    frame = pd.DataFrame({"x": rng.normal(size=n) + rng.normal(), "z": rng.random(n)})
    frame["f"] = rng.permutation(np.resize(list("abc"), n))
    fixed = draw(st.sampled_from(FIXED if n > 24 else FIXED[:3]))
    bars = []
    eta = 0.5 * frame["x"].to_numpy() + np.where(frame["f"] == "b", 0.7, 0.0)
    singular = draw(st.booleans())
    for name, codes in zip("ghk", groupings(rng, n, layout, sizes), strict=False):
        frame[name] = [f"{name}{c:02d}" for c in rng.permutation(999)[codes]]
        count = int(codes.max()) + 1
        fitting = [b for b, p in zip(BARS, COLUMNS, strict=True) if p * count < 0.8 * n]
        bars.append(draw(st.sampled_from(fitting or BARS[:1])).replace("{}", name))
        size = 0.0 if singular else rng.uniform(0.2, 1.5)
        eta = eta + size * (rng.normal(size=count) + rng.normal() * 0.1)[codes]
        eta = eta + 0.4 * size * rng.normal(size=count)[codes] * frame["x"].to_numpy()
    return number, rng, frame, fixed, tuple(bars), eta


@st.composite
def linear_models(draw):
    """A linear mixed model with one to three grouping factors."""
    number, rng, frame, fixed, bars, eta = draw(designs(90))
    options = {}
    noise = rng.normal(size=len(frame))
    if draw(st.booleans()):
        frame["w"] = rng.uniform(0.2, 3.0, len(frame))
        noise = noise / np.sqrt(frame["w"].to_numpy())
        options["weights"] = "w"
    frame["y"] = 3.0 + eta + noise
    return RandomModel(fixed, bars, frame, options, draw(st.booleans()), None, number)


FAMILIES = ("bernoulli", "binomial", "poisson", "gamma", "negative_binomial")


@st.composite
def generalized_models(draw, families=FAMILIES):
    """A generalized linear mixed model, with an offset or without."""
    number, rng, frame, fixed, bars, eta = draw(designs(120))
    family, options, n = draw(st.sampled_from(families)), {}, len(frame)
    bars = bars[:2]
    eta = 0.7 * (eta - eta.mean())
    if draw(st.booleans()):
        frame["o"] = rng.normal(size=n) * 0.3
        options["offset"] = "o"
        eta = eta + frame["o"].to_numpy()
    if family == "poisson":
        frame["y"] = rng.poisson(np.exp(1.0 + eta)).astype(float)
    elif family == "negative_binomial":
        mean = np.exp(1.5 + eta)
        frame["y"] = rng.poisson(mean * rng.gamma(2.0, 0.5, n)).astype(float)
    elif family == "gamma":
        frame["y"] = np.exp(eta) * rng.gamma(3.0, 1.0 / 3.0, n)
        family = lme.families.Gamma(link="log")
    else:
        trials = rng.integers(2, 9, n) if family == "binomial" else np.ones(n, int)
        frame["s"] = rng.binomial(trials, 1.0 / (1.0 + np.exp(-eta)))
        frame["n"] = trials
        frame["y"] = frame["s"] / trials
        if family == "binomial":
            options["weights"] = "n"
        else:
            fixed = "x"  # few binary rows are often separated
    if family in ("bernoulli", "negative_binomial"):
        bars = tuple(f"(1 | {name})" for name in "gh" if name in frame)
    return RandomModel(fixed, bars, frame, options, False, family, number)


def run(strategy: Any, attempt: Callable[[Any], None], examples: int, start: int = 0):
    """Try a relation on draws that are the same every time."""
    MINIMA.clear()
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(seed(start)(given(strategy)(attempt)))()
    assert len(MINIMA) <= examples // 20, MINIMA


#: Models of a run of which two fits ended in two minima.
MINIMA: list[str] = []


def together(a: Any, b: Any, objective: Callable[[Any], float]) -> tuple[Any, Any]:
    """Two fits, the worse one searched again from the better one where they differ.

    A model with about as many covariances as levels can have several minima, and
    different moments can lead to different ones. `run` counts how often they do.
    """
    gap = objective(a) - objective(b)
    if abs(gap) <= OBJECTIVE * (1.0 + abs(objective(a))):
        return a, b
    MINIMA.append(a.model.formula)
    if gap > 0.0:
        return a.model.fit(start={"theta": b.theta.to_numpy()}), b
    return a, b.model.fit(start={"theta": a.theta.to_numpy()})


# --- comparisons ----------------------------------------------------------------------


def close(actual: Any, expected: Any, unit: Any, what: str) -> None:
    """Agreement to `ESTIMATE` of a unit, one for each element or for all."""
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    assert actual.shape == expected.shape, what
    if actual.size:
        worst = float(np.max(np.abs(actual - expected) / unit))
        assert worst < ESTIMATE, f"{what}: {worst:.2g} units apart"


def same_objective(a: float, b: float) -> None:
    assert abs(a - b) <= OBJECTIVE * (1.0 + abs(a)), f"{a!r} and {b!r}"


def same_theta(a: Any, b: Any) -> bool:
    """Whether both found one theta; a flat optimum leaves it and the errors open."""
    return bool(np.allclose(a.theta, b.theta, rtol=1e-4, atol=1e-5))


def linear(res: Any) -> Any:
    """The linear predictor with random effects, (n,)."""
    return res.predict(which="linear")


def covariance(res: Any) -> Any:
    """Of the random part of the linear predictor, (n, n)."""
    ZL = (res.getME("Z") @ res.getME("Lambda")).toarray()
    return ZL @ ZL.T * res.fit_record.sigma**2


def turned(a: Any, b: Any) -> Any:
    """``T`` with ``X_b = X_a T``."""
    X, other = a.getME("X"), b.getME("X")
    T = np.linalg.lstsq(X, other, rcond=None)[0]
    np.testing.assert_allclose(X @ T, other, atol=1e-8 * np.abs(other).max())
    return T


def agree(a: Any, b: Any, *, shift: float = 0.0, scale: float = 1.0) -> None:
    """Two fits of one model, the rows in the same order.

    Parameters
    ----------
    shift : float
        Of the objective of `b`, beside what the basis of X does to REML.
    scale : float
        Of the unit of the response of `b`.
    """
    T = turned(a, b)
    if a.fit_record.reml:
        shift = shift + 2.0 * np.linalg.slogdet(T)[1]
    same_objective(a.objective, b.objective - shift)
    sigma = a.fit_record.sigma
    close(linear(b) / scale, linear(a), sigma, "linear predictor")
    bse = np.asarray(a.bse)
    close(T @ np.asarray(b.params) / scale, a.params, bse, "coefficients")
    V = T @ np.asarray(b.cov_params()) @ T.T / scale**2
    if not (a.convergence.unique and b.convergence.unique):
        return
    close(V, a.cov_params(), np.outer(bse, bse), "their covariance")
    close(b.fit_record.sigma / abs(scale), sigma, sigma, "sigma")
    total = covariance(a)
    unit = sigma**2 + np.sqrt(np.outer(total.diagonal(), total.diagonal()))
    close(covariance(b) / scale**2, total, unit, "covariance of the random part")
