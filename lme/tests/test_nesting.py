"""Which model, and which factor, is nested in which."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import FitError, OptionError
from lme.inference.comparison.candidates import candidate
from lme.inference.comparison.nesting import (
    is_nested,
    nesting,
    outside,
    refines,
    same_partition,
)
from lme.tests.cases import data


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    n = 240
    g = np.repeat(np.arange(20), 12)
    columns = {
        "y": rng.standard_normal(n) + rng.standard_normal(20)[g],
        "x": rng.standard_normal(n),
        "w": rng.standard_normal(n) * 1e4 + 1e6,
        "f": np.tile(list("abc"), 80),
        "g": g.astype(str),
        "h": rng.integers(0, 12, n).astype(str),
    }
    out = pd.DataFrame(columns)
    out["big"] = (g // 4).astype(str)
    out["gf"] = out["g"] + out["f"]
    out["renamed"] = out["g"].map(lambda s: f"level {99 - int(s)}")
    return out.assign(a=(out["f"] == "a") * 1.0, rest=(out["f"] != "a") * 1.0)


# Pairs, smaller model first; a second False says that they are equivalent.
NESTED = [
    ("(1 | g)", "(x | g)"),
    ("(0 + x | g)", "(x | g)"),
    ("(x || g)", "(x | g)"),
    ("(1 | g)", "(x || g)"),
    ("(1 | g)", "(1 | renamed) + (1 | h)"),
    ("(1 | g)", "(1 | h) + (w | g)"),
    ("(1 | g) + (0 + x | g)", "(x + w | g)"),
    ("(x | g)", "(x + I(x^2) | g)"),
    ("(poly(x, 2) | g)", "(x + I(x^2) + w | g)"),
    # Compound symmetry within an unstructured covariance of the cells of a factor.
    ("(1 | g) + (1 | g:f)", "(0 + f | g)"),
    ("(1 | g:f)", "(f | g)"),
    ("(1 | gf)", "zerocorr(0 + f | g)"),
    ("(1 | gf)", "(0 + a | g) + (0 + rest | gf)"),
    ("zerocorr(0 + f | g)", "(f | g)"),
    ("homdiag(0 + f | g)", "zerocorr(0 + f | g)"),
    ("homdiag(0 + f | g)", "homcs(0 + f | g)"),
    ("homcs(0 + f | g)", "homtoep(0 + f | g)"),
    ("(1 | g)", "homcs(0 + f | g)"),
    ("homcs(0 + f | g)", "(0 + f | g)"),
    ("homcs(0 + f | g)", "cs(0 + f | g)"),
    ("ar1(0 + f | g)", "homtoep(0 + f | g)"),
    ("ar1(0 + f | g)", "(f | g)"),
    ("cs(0 + f | g)", "(f | g)"),
]
APART = [
    ("(x | g)", "(x || g)"),
    ("(x | g)", "(w | g)"),
    ("(1 | g)", "(0 + x | g)"),
    ("(1 | g)", "(1 | h)"),
    ("(1 | g)", "(1 | big)"),
    ("(1 | big)", "(1 | g)"),
    ("(1 | big)", "(x | g)"),
    ("(1 | g)", "(1 | g:f)"),
    ("(1 | g)", "zerocorr(0 + f | g)"),
    ("(1 | g)", "ar1(0 + f | g)"),
    ("zerocorr(0 + f | g)", "homcs(0 + f | g)"),
    ("homcs(0 + f | g)", "ar1(0 + f | g)"),
    ("homtoep(0 + f | g)", "homcs(0 + f | g)"),
    ("ar1(0 + f | g)", "cs(0 + f | g)"),
    ("(f | g)", "cs(0 + f | g)"),
]


def model(random, frame, mean="x"):
    built = lme.lmer(f"y ~ {mean} + {random}", frame, checks="ignore")
    # One step is enough: the optimum plays no part.
    return candidate(built.fit(reml=False, control={"max_evaluations": 3}))


@pytest.mark.filterwarnings("ignore::lme.ConvergenceWarning")
@pytest.mark.parametrize("small, large", NESTED)
def test_covariances_within_others(frame, small, large):
    one, other = model(small, frame), model(large, frame)
    assert nesting(one, other)
    assert not nesting(other, one)
    assert nesting(one, one) and nesting(other, other)


@pytest.mark.filterwarnings("ignore::lme.ConvergenceWarning")
@pytest.mark.parametrize("small, large", APART)
def test_covariances_outside_others(frame, small, large):
    found = nesting(model(small, frame), model(large, frame))
    assert not found and small.strip("()").split(" ")[-1] in found.reason


@pytest.mark.filterwarnings("ignore::lme.ConvergenceWarning")
def test_the_same_covariance_in_the_larger_model(frame):
    """The covariance that the smaller model estimated, by the larger one's columns."""
    one = candidate(lme.lmer("y ~ x + (1 | g) + (1 | g:f)", frame).fit(reml=False))
    other = candidate(lme.lmer("y ~ x + (0 + f | g)", frame).fit(reml=False))
    found = nesting(one, other)
    V = [np.zeros((240, 240)) for _ in range(2)]
    covariances = [[c.covariance for c in one.components], found.estimated]
    for total, model_, matrices in zip(V, (one, other), covariances, strict=True):
        for c, S in zip(model_.components, matrices, strict=True):
            same = c.codes[:, None] == c.codes
            total += same * (c.values @ S @ c.values.T)
    assert_allclose(V[0], V[1], atol=1e-8)


def test_prior_weights_and_scales_do_not_matter(frame):
    frame = frame.assign(prior=np.linspace(0.5, 3.0, 240), far=1e6 * frame["x"] + 1e7)
    small = lme.lmer("y ~ x + (x | g)", frame, weights="prior").fit()
    large = lme.lmer("y ~ far + (far + w | g)", frame, weights="prior").fit()
    assert is_nested(small, large) and not is_nested(large, small)


def test_generalized_models(frame):
    counts = frame.assign(n=np.random.default_rng(2).poisson(3.0, 240))
    small = lme.glmer("n ~ x + (1 | g)", counts, family="poisson").fit()
    large = lme.glmer("n ~ x + f + (x | g)", counts, family="poisson").fit()
    assert is_nested(small, large) and not is_nested(large, small)
    other = lme.lmer("n ~ x + f + (x | g)", counts).fit()
    assert not is_nested(small, other)


@pytest.mark.filterwarnings("ignore::lme.ConvergenceWarning")
def test_related_levels(frame):
    """Models that were built apart have the same relation if its numbers are."""
    levels = sorted(frame["g"].astype(str).unique())
    n = len(levels)
    frame = frame.assign(g=frame["g"].astype(str))

    def related(formula, share):
        K = pd.DataFrame(share + (1 - share) * np.eye(n), index=levels, columns=levels)
        return lme.lmer(formula, frame, covariances={"g": K}).fit(reml=False)

    small, large = related("y ~ 1 + (1 | g)", 0.3), related("y ~ x + (1 | g)", 0.3)
    assert is_nested(small, large) and not is_nested(large, small)
    assert lme.anova(small, large)["Df"].iloc[1] == 1
    assert not is_nested(small, related("y ~ x + (1 | g)", 0.6))
    # A structure with a pattern is looked for by its name, and by the relation.
    chain = [related(f"y ~ {mean} + ar1(0 + f | g)", 0.3) for mean in ("1", "x")]
    assert is_nested(*chain)
    assert not is_nested(chain[0], related("y ~ x + ar1(0 + f | g)", 0.6))
    assert not is_nested(lme.lmer("y ~ 1 + (1 | g)", frame).fit(reml=False), large)


def test_what_is_held_in_the_larger_model_alone(frame):
    small = lme.lmer("y ~ x + (1 | g)", frame).fit(reml=False)
    large = lme.lmer("y ~ x + (x | g)", frame).fit(
        reml=False, fix={"theta": {"g.x": 0.2}}
    )
    assert not is_nested(small, large)
    with pytest.raises(FitError, match="held in the larger model alone"):
        lme.anova(small, large)


def test_columns_outside_a_span():
    """E.7 #86: e3 is not in the span of e1 and e2."""
    unit = np.eye(5)
    assert outside(unit[:, :2], unit[:, [2]]).tolist() == [0]
    assert outside(unit[:, :2], unit[:, [0]] - 3.0 * unit[:, [1]]).size == 0
    assert outside(unit[:, :0], unit[:, :2]).tolist() == [0, 1]


def test_factors():
    """lme4's isNested."""
    pastes = data("Pastes")
    assert is_nested(pastes["sample"], pastes["batch"])
    assert not is_nested(pastes["batch"], pastes["sample"])
    assert not is_nested(pastes["cask"], pastes["batch"])
    assert is_nested(["a", "a", "b"], [1, 1, 1])
    codes = np.array([0, 0, 1, 2])
    assert refines(codes, np.array([1, 1, 0, 0]))
    assert same_partition(codes, np.array([2, 2, 0, 1]))
    with pytest.raises(OptionError, match="two factors of one length"):
        is_nested(["a", "b"], ["a"])
    with pytest.raises(OptionError, match="is a LMM"):
        is_nested(lme.lmer("strength ~ 1 + (1 | batch)", pastes), pastes["batch"])


def test_many_rows_take_no_square_matrix():
    insteval = data("InstEval")
    small = candidate(lme.lmer("y ~ service + (1 | s) + (1 | d)", insteval).fit())
    large = lme.lmer("y ~ service + (1 | s) + (1 | d) + (1 | dept)", insteval)
    assert nesting(small, candidate(large.fit()))
