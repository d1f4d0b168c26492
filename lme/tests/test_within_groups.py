"""Regressions within groups: R's lmList, fits one by one, and identities."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

import lme
from lme.errors import (
    DataError,
    DataTypeError,
    DataWarning,
    FormulaError,
    OptionError,
)
from lme.inference.measures.group_regression import groups_of, triangles
from lme.inference.measures.within_groups import lmList
from lme.tests.measures_cases import STORED, frame

SLEEP = frame("sleepstudy")
WITHIN = STORED["within"]


@pytest.fixture(scope="module")
def sleep():
    return lmList("Reaction ~ Days | Subject", SLEEP)


@pytest.fixture(scope="module")
def uneven():
    """Groups of 1 to 12 rows, weights, an offset, a factor and a covariate."""
    rng = np.random.default_rng(21)
    g = np.repeat(np.arange(30), rng.integers(4, 13, 30))
    rng.shuffle(g)
    n = g.size
    data = pd.DataFrame({"g": g, "x": 1000 + rng.normal(size=n)})
    data["w"], data["o"] = rng.uniform(0.2, 2.0, n), rng.normal(size=n)
    mu = np.exp(0.3 * (data["x"] - 1000) + 0.2 * data["o"])
    data["y"] = mu + rng.normal(size=n)
    data["count"] = rng.poisson(3 * mu)
    data["time"] = rng.gamma(3.0, mu / 3.0)
    return data


# --- references ----------------------------------------------------------------


def test_sleepstudy(sleep):
    want = WITHIN["sleep"]
    assert_allclose(sleep.coef(), want["coef"], rtol=1e-10)
    assert_allclose(sleep.bse(), want["se"], rtol=1e-10)
    assert_allclose(sleep.pooled_sd, 25.5918156267, rtol=1e-11)
    assert (sleep.df_resid, sleep.nobs, sleep.ngroups) == (144, 180, 18)
    assert list(sleep.levels) == want["groups"]


def test_intervals(sleep):
    # nlme's with the pooled variance, lme4's with that of each group.
    pooled = sleep.confint()
    columns = ["lower", "estimate", "upper"]
    for term, key in (("(Intercept)", "intercept"), ("Days", "slope")):
        part = pooled.xs(term, level="term")[columns]
        assert_allclose(part, WITHIN["sleep"]["pooled_intervals"][key], rtol=1e-9)
        assert np.ptp(part["upper"] - part["lower"]) < 1e-8
    own = sleep.confint(pooled=False)
    for j, term in enumerate(("(Intercept)", "Days")):
        part = own.xs(term, level="term")[["lower", "upper"]].to_numpy().T.ravel()
        assert_allclose(part, WITHIN["sleep"]["own"][j], rtol=1e-7)
    assert_allclose(
        lmList("Reaction ~ Days | Subject", SLEEP, pool=False).confint(), own
    )


def test_orthodont():
    found = lmList("distance ~ age | Subject", frame("Orthodont"))
    assert_allclose(found.fixef(), [16.7611111, 0.660185185], rtol=1e-8)
    assert_allclose(found.pooled_sd, WITHIN["orthodont"]["RSE"])
    order = list(found.levels)
    want = dict(
        zip(WITHIN["orthodont"]["groups"], WITHIN["orthodont"]["coef"], strict=True)
    )
    assert_allclose(found.coef(), [want[name] for name in order], rtol=1e-9)
    assert_allclose(found.ranef().mean(), 0.0, atol=1e-12)


def test_weights_and_offset():
    data = SLEEP.assign(
        w=np.tile([1, 2, 0.5, 3, 1.5], 36), o=np.tile(np.arange(1.0, 11), 18)
    )
    found = lmList("Reaction ~ Days + offset(o) | Subject", data, weights="w")
    assert_allclose(found.coef(), WITHIN["weighted"]["coef"], rtol=1e-9)
    argument = lmList("Reaction ~ Days | Subject", data, weights="w", offset="o")
    assert_allclose(argument.coef(), found.coef())
    # lme4 leaves the weights out of its pooled standard deviation; lm does not.
    raw = np.sqrt((found.resid**2).sum() / 144)
    assert_allclose(raw, WITHIN["weighted"]["RSE"], rtol=1e-9)
    assert_allclose(found.pooled_sd, np.sqrt((data["w"] * found.resid**2).sum() / 144))


def test_binomial_herds():
    formula = "cbind(incidence, size - incidence) ~ period | herd"
    with pytest.warns(DataWarning) as caught:
        found = lmList(formula, frame("cbpp"), family="binomial")
    text = " ".join(str(note.message) for note in caught)
    assert "not all coefficients are determined (NaN) in 2 of 15 groups: 2, 8" in (
        text.lower().replace("nan", "NaN")
    )
    assert "infinite estimates" in text
    want = np.array(WITHIN["cbpp"]["coef"], float)
    # R's fit of herd 8 stops at the contrasts of one period, the first, whose odds the
    # herd does determine.
    want[7, 0] = np.log(12 / 22)
    near = np.abs(want) < 10
    assert_allclose(found.coef().to_numpy()[near], want[near], atol=1e-8)
    assert_allclose(found.coef().to_numpy()[~near], want[~near], rtol=1e-3)
    assert found.confint().columns.tolist() == ["estimate", "lower", "upper"]
    first = found.bse().iloc[0, 0]
    half = stats.norm.isf(0.025) * first
    lower = found.confint().iloc[0]["lower"]
    assert_allclose(lower, found.coef().iloc[0, 0] - half)


# --- one by one ------------------------------------------------------------------


def test_least_squares_one_by_one(uneven):
    found = lmList("y ~ x | g", uneven, weights="w", offset="o")
    squares, df = 0.0, 0
    for name, part in uneven.groupby("g"):
        X = sm.add_constant(part[["x"]])
        ols = sm.WLS(part["y"] - part["o"], X, weights=part["w"]).fit()
        assert_allclose(found.coef().loc[str(name)], ols.params, rtol=1e-7)
        assert_allclose(found.fittedvalues[part.index], ols.fittedvalues + part["o"])
        assert_allclose(found.bse(pooled=False).loc[str(name)], ols.bse, rtol=1e-6)
        squares, df = squares + ols.ssr, df + ols.df_resid
    assert_allclose(found.pooled_sd, np.sqrt(squares / df))
    assert found.df_resid == df
    assert_allclose(found.resid, uneven["y"] - found.fittedvalues)


@pytest.mark.parametrize(
    "family, response, theirs",
    [
        ("poisson", "count", sm.families.Poisson()),
        ("gamma", "time", sm.families.Gamma(sm.families.links.Log())),
    ],
)
@pytest.mark.filterwarnings("ignore::lme.errors.DataWarning")
def test_generalized_one_by_one(uneven, family, response, theirs):
    link = "log"
    data = uneven.assign(z=uneven["x"] - 1000)
    options = {"family": family, "link": link, "offset": "o"}
    found = lmList(f"{response} ~ z | g", data, **options)
    for name, part in data.groupby("g"):
        X = sm.add_constant(part[["z"]])
        glm = sm.GLM(part[response], X, family=theirs, offset=part["o"]).fit(
            tol=1e-12, maxiter=100
        )
        if np.abs(glm.params).max() > 8:
            continue
        assert_allclose(found.coef().loc[str(name)], glm.params, rtol=1e-4, atol=1e-6)
        if glm.df_resid > 0:
            own = found.bse(pooled=False).loc[str(name)]
            assert_allclose(own, glm.bse, rtol=1e-3)


def test_gaussian_family_is_least_squares(sleep):
    found = lmList("Reaction ~ Days | Subject", SLEEP, family="gaussian")
    assert_allclose(found.coef(), sleep.coef())
    log = lmList("Reaction ~ Days | Subject", SLEEP, family="gaussian", link="log")
    assert_allclose(np.exp(log.coef()["(Intercept)"]).mean(), 251, rtol=0.05)


# --- what a group does not determine ---------------------------------------------


def test_undetermined():
    data = pd.DataFrame(
        {
            "g": list("aaaabbbcd") + ["e"] * 4,
            "x": [0, 1, 2, 3, 2, 2, 2, 5, 0, 0.0, 1, 2, 4],
            "z": [0, 1, 0, 1, 0, 1, 3, 1, 2, 7.0, 7, 7, 7],
            "y": [1, 2, 4, 3, 5, 6, 8, 1, 2, 3.0, 5, 8, 1],
        }
    )
    before = data.copy()
    with pytest.warns(DataWarning, match=r"\(NaN\) in 4 of 5 groups: b, c, d, e"):
        found = lmList("y ~ x + z | g", data)
    pd.testing.assert_frame_equal(data, before)
    known = found.coef().notna()
    # b has one x: the slope in z. c, d: nothing. e has one z: the slope in x.
    assert known.to_numpy().tolist() == [
        [True] * 3,
        [False, False, True],
        [False] * 3,
        [False] * 3,
        [False, True, False],
    ]
    assert_allclose(found.coef().loc["b", "z"], np.polyfit([0, 1, 3], [5, 6, 8], 1)[0])
    assert found.df_by_group.tolist() == [1, 1, 0, 0, 2]
    # Fitted values are determined all the same.
    assert_allclose(found.fittedvalues[7:9], [1, 2])
    assert np.isnan(found.sd_by_group()["c"])
    assert "NaN" not in repr(found) and "residual standard deviation" in repr(found)


def test_deviations_of_a_family_without_a_scale():
    frame_ = SLEEP.assign(k=(SLEEP["Reaction"] // 50).astype(int))
    found = lmList("k ~ 1 | Subject", frame_, family="poisson")
    assert (found.sd_by_group() == 1.0).all() and found.pooled_sd == 1.0
    assert list(found.sd_by_group().index) == list(found.coef().index)
    totals = frame_.groupby("Subject", observed=True)["k"].sum().to_numpy()
    assert_allclose(found.bse()["(Intercept)"], 1 / np.sqrt(totals), rtol=1e-4)


def test_no_degrees_of_freedom():
    data = pd.DataFrame({"g": list("aabb"), "x": [0, 1, 0, 1.0], "y": [1, 2, 3, 5.0]})
    found = lmList("y ~ x | g", data)
    assert np.isnan(found.pooled_sd) and found.df_resid == 0
    assert found.bse().isna().all(axis=None)
    assert_allclose(found.coef()["x"], [1.0, 2.0])


def test_collinear_far_from_the_origin():
    # A year is nearly a constant, and is no constant.
    data = SLEEP.assign(year=2000 + SLEEP["Days"])
    found = lmList("Reaction ~ year | Subject", data)
    plain = lmList("Reaction ~ Days | Subject", SLEEP)
    assert_allclose(found.coef()["year"], plain.coef()["Days"], rtol=1e-8)
    assert_allclose(found.pooled_sd, plain.pooled_sd)


def test_orthogonal_columns(uneven):
    X = np.column_stack([np.ones(len(uneven)), uneven["x"], uneven["x"] ** 2])
    codes = uneven["g"].to_numpy()
    made = triangles(X, groups_of(codes, 30))
    for k in range(30):
        Q = made.Q[codes == k]
        used = ~made.dependent[k]
        assert_allclose(Q[:, used].T @ Q[:, used], np.eye(used.sum()), atol=1e-10)
        if used.all():
            assert_allclose(Q @ made.R[k], X[codes == k], rtol=1e-10)


# --- formula and data ----------------------------------------------------------------


def test_levels_of_the_mixed_model(sleep):
    res = lme.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).fit()
    frame_ = res.coef()["Subject"]
    assert sleep.coef().index.equals(frame_.index)
    assert list(sleep.coef().columns) == list(frame_.columns)
    # The mixed model shrinks towards the mean.
    spread = sleep.coef().std() > frame_.std()
    assert spread.all()


def test_coded_for_all_groups_together():
    data = SLEEP.assign(late=pd.Categorical(np.where(SLEEP["Days"] > 4, "b", "a")))
    poly = lmList("Reaction ~ poly(Days, 2) | Subject", data)
    plain = lmList("Reaction ~ Days + I(Days^2) | Subject", data)
    assert_allclose(poly.fittedvalues, plain.fittedvalues)
    factor = lmList("Reaction ~ late | Subject", data)
    assert list(factor.coef().columns) == ["(Intercept)", "lateb"]
    sums = lmList("Reaction ~ late | Subject", data, contrasts={"late": "contr.sum"})
    assert_allclose(sums.coef()["late1"], -factor.coef()["lateb"] / 2)
    mean = lmList("Reaction ~ 1 | Subject", data)
    expected = data.groupby("Subject", observed=True)["Reaction"].mean()
    assert_allclose(mean.coef()["(Intercept)"], expected)


def test_interaction_subset_and_missing():
    data = SLEEP.assign(half=np.where(SLEEP.index % 2, "u", "v"))
    data.loc[3, "Reaction"] = np.nan
    found = lmList("Reaction ~ Days | Subject:half", data)
    assert found.ngroups == 36 and found.group == "Subject:half"
    omitted = lmList("Reaction ~ Days | Subject", data)
    assert omitted.nobs == len(omitted.resid) == 179
    padded = lmList("Reaction ~ Days | Subject", data, na_action="exclude")
    assert len(padded.resid) == 180 and np.isnan(padded.resid[3])
    early = lmList("Reaction ~ Days | Subject", data, subset="Days < 5")
    assert early.nobs == 89


@pytest.mark.parametrize(
    "formula, message",
    [
        ("Reaction ~ Days", "not a regression within groups"),
        ("Reaction ~ Days + (Days | Subject)", "use lmer"),
        ("Reaction ~ Days || Subject", "not a regression within groups"),
        ("Days | Subject", "not a regression within groups"),
        (3, "not a regression within groups"),
        ("Reaction ~ Days | Subject/Days", "2 grouping factors"),
        ("Reaction ~ Days | subject", "Did you mean 'Subject'"),
    ],
)
def test_wrong_formulas(formula, message):
    with pytest.raises(FormulaError, match=message):
        lmList(formula, SLEEP)


def test_wrong_options(sleep):
    for level in (0.0, 1.0, 95):
        with pytest.raises(OptionError, match="not a coverage"):
            sleep.confint(level)
    with pytest.raises(OptionError, match="theta of the negative binomial"):
        lmList("Reaction ~ Days | Subject", SLEEP, family="negative_binomial")
    with pytest.raises(OptionError, match="Did you mean 'poisson'"):
        lmList("Reaction ~ Days | Subject", SLEEP, family="poison")
    with pytest.raises(OptionError, match="without a family"):
        lmList("Reaction ~ Days | Subject", SLEEP, link="log")
    with pytest.raises(DataError, match="gamma"):
        wrong = SLEEP.assign(Reaction=-1.0)
        lmList("Reaction ~ Days | Subject", wrong, family="gamma")
    with pytest.raises(DataTypeError):
        lmList("Reaction ~ Days | Subject", 5)


# --- words and size ------------------------------------------------------------------


def test_words(sleep):
    text = repr(sleep)
    assert text.startswith("Linear regressions within 18 groups: Reaction ~ Days |")
    assert "25.5918 on 144 degrees of freedom (pooled)" in text
    summary = sleep.summary()
    row = summary.frame.loc[("308", "Days")]
    # R: 21.764702 2.817566 7.7246464 1.741840e-12
    assert_allclose(row, [21.764702, 2.817566, 7.7246464, 1.741840e-12], rtol=1e-6)
    assert "P>|t|" in str(summary) and "<table>" in sleep._repr_html_()
    poisson = lmList("Days ~ 1 | Subject", SLEEP, family="poisson")
    assert "P>|z|" in str(poisson.summary())
    assert "scale fixed at 1" in repr(poisson) and poisson.pooled_sd == 1.0


def test_many_groups_at_once():
    rng = np.random.default_rng(2)
    n, groups = 100_000, 20_000
    data = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % groups})
    data["y"] = data["g"] % 7 + data["x"] + rng.normal(size=n)
    found = lmList("y ~ x | g", data)
    assert found.ngroups == groups
    assert "... and 19980 more groups" in repr(found)
    last = data[data["g"] == 19_999]
    slope = np.polyfit(last["x"], last["y"], 1)[0]
    assert_allclose(found.coef().loc["19999", "x"], slope)
