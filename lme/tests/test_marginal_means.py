"""Marginal means by identities, and what is refused. See also the references."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

import lme
from lme.errors import (
    DataTypeError,
    DesignError,
    FitError,
    FormulaError,
    OptionError,
    RankWarning,
)
from lme.inference.marginal.contrast_families import CONTRAST_FAMILIES
from lme.inference.marginal.reference_grid import reference_grid
from lme.inference.marginal.specs import read_specs


@pytest.fixture(scope="module")
def cake():
    return lme.datasets.load("cake")


@pytest.fixture(scope="module")
def res(cake):
    return lme.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", cake).fit()


@pytest.fixture(scope="module")
def means(cake):
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    return lme.lmer(formula, cake).fit().emmeans("recipe")


@pytest.fixture(scope="module")
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return lme.glmer(formula, lme.datasets.load("cbpp"), family="binomial").fit()


# --- identities -------------------------------------------------------------------


def test_balanced_means_are_means(means, cake):
    expected = cake.groupby("recipe", observed=True)["angle"].mean()
    frame = means.to_frame()
    assert list(frame["recipe"]) == ["A", "B", "C"]
    assert_allclose(frame["estimate"], expected)


def test_means_are_predictions(res, cake):
    """At a single row of the grid the mean is the prediction for the population."""
    at = {"temp": [180, 210]}
    frame = res.emmeans(["recipe", "temp"], at=at).to_frame()
    assert list(frame["temp"]) == [180.0] * 3 + [210.0] * 3
    rows = frame.rename(columns={"estimate": "mean"})[["recipe", "temp", "mean"]]
    found = res.predict(rows[["recipe", "temp"]], re_form="none")
    assert_allclose(rows["mean"], found)
    assert_allclose(
        res.emmeans("recipe").to_frame()["estimate"],
        res.predict({"recipe": list("ABC"), "temp": [200.0] * 3}, re_form="none"),
    )


def test_coding_does_not_matter(cake, means):
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    coded = {"recipe": "contr.sum", "temperature": "contr.helmert"}
    other = lme.lmer(formula, cake, contrasts=coded).fit().emmeans("recipe")
    # Two searches end at thetas that agree to 1e-7.
    assert_frame_equal(other.to_frame(), means.to_frame(), rtol=1e-5)
    dotted = lme.lmer("angle ~ 0 + recipe:temperature + (1 | recipe:replicate)", cake)
    found = dotted.fit().emmeans("recipe").to_frame()
    assert_frame_equal(found, means.to_frame(), rtol=1e-5)


def test_trends_are_slopes(res):
    """Of a linear term; of a curve, the derivative."""
    frame = res.emtrends("recipe", "temp").to_frame()
    slopes = res.contrast(["temp", "temp + recipeB:temp", "temp + recipeC:temp"])
    columns = ["estimate", "se", "df", "p"]
    assert_allclose(frame[columns], slopes[columns], rtol=1e-7)
    pair = res.emtrends("recipe", "temp").pairs(adjust="none").to_frame()
    assert_allclose(pair["estimate"].iloc[0], -res.params["recipeB:temp"])


@pytest.mark.parametrize("type", ["link", "response"])
def test_trends_of_curves_by_differences(type):
    data = lme.datasets.load("Contraception")
    formula = "use ~ poly(age, 2) + urban + (1 | district)"
    fit = lme.glmer(formula, data, family="binomial").fit()
    found = fit.emtrends("urban", "age", at={"age": 3.0}, type=type)
    step = 1e-3
    which = {"link": "linear", "response": "mean"}[type]
    ends = [
        fit.predict(
            {"age": [3.0 + s] * 2, "urban": ["N", "Y"]}, which=which, re_form="none"
        )
        for s in (step, -step)
    ]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert_allclose(found.to_frame()["estimate"], expected, rtol=1e-5)


def test_ratios_are_exponentiated_differences(herds):
    link = herds.emmeans("period").pairs().to_frame()
    pairs = herds.emmeans("period", type="response").pairs()
    ratio = pairs.to_frame()
    assert pairs.estimate_name == "odds ratio"
    for column in ("estimate", "lower", "upper"):
        assert_allclose(ratio[column], np.exp(link[column]))
    assert_allclose(ratio["se"], ratio["estimate"] * link["se"])
    assert_allclose(ratio["p"], link["p"])
    assert ratio["contrast"].iloc[0] == "period1 / period2"
    again = herds.emmeans("period").pairs().summary(type="response")
    assert_frame_equal(again.to_frame(), ratio)


def test_regrid_is_the_delta_method(herds):
    """Its covariance against differences of the means in each coefficient."""
    means = herds.emmeans("period", type="response")
    found = means.regrid().pairs(adjust="none").to_frame()
    L, beta = means.L, herds.params.to_numpy()
    gradient = np.empty((4, 4))
    for j in range(4):
        step = 1e-6 * np.eye(4)[j]
        ends = [1 / (1 + np.exp(-(L @ (beta + s)))) for s in (step, -step)]
        gradient[:, j] = (ends[0] - ends[1]) / 2e-6
    g = gradient[0] - gradient[1]
    assert_allclose(found["se"].iloc[0], np.sqrt(g @ herds.cov_params() @ g), rtol=1e-6)
    response = means.to_frame()["estimate"]
    assert_allclose(found["estimate"].iloc[0], response[0] - response[1])


def test_offsets():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(range(10), 8), "t": rng.uniform(1, 9, 80)})
    frame["f"] = rng.choice(["a", "b"], 80)
    frame["n"] = rng.poisson(frame.t * np.where(frame.f == "a", 1, 2))
    inside = lme.glmer("n ~ f + offset(log(t)) + (1 | g)", frame, family="poisson")
    beside = lme.glmer("n ~ f + (1 | g)", frame, family="poisson", offset="log(t)")
    one, two = inside.fit(), beside.fit()
    expected = one.emmeans("f").to_frame()
    assert_frame_equal(two.emmeans("f").to_frame(), expected, rtol=1e-5)
    rates = one.emmeans("f", offset=0.0)
    difference = expected["estimate"] - rates.to_frame()["estimate"]
    assert_allclose(difference, np.log(frame.t).mean())
    assert_allclose(rates.to_frame()["estimate"].iloc[0], one.params.iloc[0])
    assert "at t" not in repr(rates)


def test_groups_are_families_of_their_own(cake):
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    res = lme.lmer(formula, cake).fit()
    both = res.emmeans("~ recipe | temperature")
    assert both.by == ("temperature",)
    pairs = both.pairs()
    assert len(pairs) == 18
    one = res.emmeans("recipe", at={"temperature": "185"}).pairs().to_frame()
    own = pairs.to_frame().query("temperature == '185'")
    assert_allclose(own["p"], one["p"])
    flat = res.emmeans(["recipe", "temperature"])
    assert_frame_equal(flat.pairs(by="temperature").to_frame(), pairs.to_frame())
    assert len(both.pairs(by=[])) == 153
    assert both.pairs(by="recipe").to_frame()["contrast"].iloc[0] == (
        "temperature175 - temperature185"
    )


def test_contrasts_by_hand(means):
    C = {"B and C": [-1, 0.5, 0.5], "B": [0, 1, -1]}
    found = means.contrast(C).to_frame()
    estimate = means.to_frame()["estimate"].to_numpy()
    assert list(found["contrast"]) == list(C)
    assert_allclose(found["estimate"], np.array(list(C.values())) @ estimate)
    rows = means.contrast(np.array(list(C.values()))).to_frame()
    assert list(rows["contrast"]) == ["c1", "c2"]
    assert_allclose(rows[["estimate", "p"]], found[["estimate", "p"]])
    assert_allclose(means.contrast([0, 1, -1]).to_frame()["se"], found["se"].iloc[1])


@pytest.mark.parametrize("name", CONTRAST_FAMILIES)
def test_families(name):
    family = CONTRAST_FAMILIES[name]
    rows, labels = family.rows(["a", "b", "c", "d"], 0)
    assert rows.shape == (len(labels), 4)
    assert len(set(labels)) == len(labels)
    sums = rows.sum(axis=1)
    assert_allclose(sums, 0.0 if family.differences else 1.0, atol=1e-12)
    assert family.rows(["a"], 0)[0].shape[1] == 1


def test_polynomials_are_whole_numbers():
    rows, labels = CONTRAST_FAMILIES["poly"].rows(list("abcd"), 0)
    assert rows.tolist() == [[-3, -1, 1, 3], [1, -1, -1, 1], [-1, 3, -3, 1]]
    assert labels == ["linear", "quadratic", "cubic"]


def test_pairs_and_reverse(means):
    forward = means.pairs().to_frame()
    back = means.pairs(reverse=True).to_frame()
    assert list(back["contrast"]) == ["B - A", "C - A", "C - B"]
    assert_allclose(back["estimate"], -forward["estimate"])
    assert_allclose(back["p"], forward["p"])
    control = means.contrast("trt.vs.ctrl", ref="B", reverse=True).to_frame()
    assert list(control["contrast"]) == ["B - A", "B - C"]
    assert_allclose(control["estimate"].iloc[0], back["estimate"].iloc[0])


# --- what cannot be estimated -----------------------------------------------------


def test_empty_cells():
    data = lme.datasets.load("Orthodont")
    few = data[~((data.Sex == "Female") & (data.age == 14))]
    with pytest.warns(RankWarning):
        res = lme.lmer("distance ~ Sex * factor(age) + (1 | Subject)", few).fit()
    means = res.emmeans(["Sex", "age"])
    frame = means.to_frame()
    lost = frame["estimate"].isna()
    assert frame.loc[lost, ["Sex", "age"]].to_numpy().tolist() == [["Female", 14.0]]
    assert means.non_estimable == 1
    assert "1 of 8 cannot be estimated" in repr(means)
    assert " NaN" in repr(means)
    sexes = res.emmeans("Sex")
    assert sexes.to_frame()["estimate"].isna().tolist() == [False, True]
    kept = res.emmeans("Sex", at={"age": [8, 10, 12]}).pairs().to_frame()
    assert np.isfinite(kept["estimate"]).all()
    # Cells with data only.
    flat = res.emmeans("Sex", weights="flat").to_frame()
    assert np.isfinite(flat["estimate"]).all()
    light = res._results
    light.remove_data()
    with pytest.raises(FitError, match="which are gone"):
        light.emmeans("Sex")


def test_a_difference_may_be_estimable_where_means_are_not():
    """In an additive model two unknown means can share what is unknown."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"g": np.repeat(range(12), 6)})
    frame["a"] = rng.choice(["p", "q"], 72)
    frame["twin"] = np.where(frame.g < 6, "one", "two")
    frame["same"] = np.where(frame.g < 6, "uno", "due")
    frame["y"] = (frame.a == "q") + rng.normal(size=72)
    with pytest.warns(RankWarning):
        res = lme.lmer("y ~ a + twin + same + (1 | g)", frame).fit()
    means = res.emmeans("a", at={"twin": "one", "same": "due"})
    assert means.to_frame()["estimate"].isna().all()
    pair = means.pairs().to_frame()
    assert_allclose(pair["estimate"], -res.params["aq"])


# --- showing ----------------------------------------------------------------------


def test_text(means):
    text = repr(means)
    assert text.splitlines()[:5] == [
        "Marginal means; averaged over temperature (equal weights)",
        "Tests by t (Satterthwaite); 95% intervals",
        "",
        "recipe emmean    SE    df lower upper",
        "A       33.12 1.737 42.00 29.62 36.63",
    ]
    assert "Averages may mislead: temperature is averaged over" in text
    pairs = repr(means.pairs())
    assert "Tests by t (Satterthwaite); adjusted by Tukey for 3 means" in pairs
    both = means.summary(infer=True, adjust="tukey", level=0.9)
    assert both.adjusted_by == "sidak"
    assert "90% intervals; adjusted by Sidak for 3 estimates" in repr(both)
    assert "Tukey's method is for one set of pairwise differences" in repr(both)
    nothing = repr(means.summary(infer=False))
    assert "lower" not in nothing
    assert " p" not in nothing.splitlines()[3]


def test_html(herds, means):
    html = means._repr_html_()
    assert html.count("<tr>") == 4
    assert "Tests by t (Satterthwaite)" in html
    groups = herds.emmeans("period", by=[], type="response")._repr_html_()
    assert "back-transformed from the logit scale" in groups


def test_html_of_several_tables(res):
    html = res.emmeans("recipe", by="temp", at={"temp": [175, 200]})._repr_html_()
    assert html.count("<table>") == 2
    assert "<b>temp = 175</b>" in html and "<b>temp = 200</b>" in html


def test_means_and_contrasts_together(res):
    found = res.emmeans("pairwise ~ recipe")
    assert_frame_equal(
        found.contrasts.to_frame(), res.emmeans("recipe").pairs().to_frame()
    )
    assert repr(found).count("Tests by t") == 2
    assert found._repr_html_().count("<table>") == 2
    slopes = res.emtrends("revpairwise ~ recipe", "temp")
    assert slopes.contrasts.to_frame()["contrast"].iloc[0] == "B - A"


def test_summary_options(means):
    tested = means.summary(null=30).to_frame()
    frame = means.to_frame()
    assert_allclose(tested["t"], (frame["estimate"] - 30) / frame["se"])
    wide = means.summary(level=0.99).to_frame()
    assert (wide["upper"] > frame["upper"]).all()


def test_transformed_responses(cake):
    log = lme.lmer("log(angle) ~ recipe + (1 | replicate)", cake).fit()
    means = log.emmeans("recipe", type="response")
    assert "back-transformed from the log(angle) scale" in repr(means)
    assert "on the log(angle) scale" in repr(log.emmeans("recipe"))
    ratio = means.pairs()
    assert ratio.estimate_name == "ratio"
    other = lme.lmer("I(1 / angle) ~ recipe + (1 | replicate)", cake).fit()
    assert "Estimates are of I(1/angle)" in repr(other.emmeans("recipe"))
    with pytest.raises(OptionError, match="way back from I"):
        other.emmeans("recipe", type="response")
    plain = lme.lmer("angle ~ recipe + (1 | replicate)", cake).fit()
    same = plain.emmeans("recipe", type="response").to_frame()
    assert_frame_equal(same, plain.emmeans("recipe").to_frame())


def test_names_that_frames_use(cake):
    data = cake.assign(p=cake.recipe, contrast=cake.temp > 200)
    res = lme.lmer("angle ~ p * contrast + (1 | replicate)", data).fit()
    frame = res.emmeans("~ p | contrast").pairs().to_frame()
    assert list(frame.columns)[:3] == ["contrast_", "contrast", "estimate"]
    assert (frame["p"] <= 1).all()
    assert "p_" in res.emmeans("p").to_frame()


# --- where the numbers come from ----------------------------------------------------


def test_the_data_may_change_afterwards(cake):
    data = cake.copy()
    res = lme.lmer("angle ~ recipe + temp + (1 | replicate)", data).fit()
    before = res.emmeans("recipe").to_frame()
    data["temp"] = 0
    data.loc[:, "recipe"] = "A"
    assert_frame_equal(res.emmeans("recipe").to_frame(), before)
    assert_frame_equal(cake, lme.datasets.load("cake"))


def test_without_rows_and_pickled(cake):
    res = lme.lmer("angle ~ recipe + temp + (1 | replicate)", cake).fit()
    before = res.emmeans("recipe").pairs()
    stored = pickle.loads(pickle.dumps(before))
    assert_frame_equal(stored.to_frame(), before.to_frame())
    res.remove_data()
    assert_frame_equal(res.emmeans("recipe").pairs().to_frame(), before.to_frame())
    again = pickle.loads(pickle.dumps(res))
    assert_frame_equal(again.emmeans("recipe").pairs().to_frame(), before.to_frame())
    with pytest.raises(FitError, match="needs the data"):
        res.emmeans("recipe", ddf="kenward-roger")


def test_any_frame_and_kind_of_column(cake):
    polars = pytest.importorskip("polars")
    formula = "angle ~ recipe + hot + (1 | replicate)"
    data = cake.assign(recipe=cake.recipe.astype(str), hot=cake.temp > 200)
    found = lme.lmer(formula, polars.from_pandas(data)).fit().emmeans("~ recipe | hot")
    expected = lme.lmer(formula, data).fit().emmeans("~ recipe | hot").to_frame()
    assert_frame_equal(found.to_frame(), expected)
    assert set(expected["hot"]) == {"FALSE", "TRUE"}
    dense = {name: data[name].to_numpy() for name in ("angle", "recipe", "hot")}
    dense["replicate"] = data["replicate"].to_numpy()
    mapped = lme.lmer(formula, dense).fit().emmeans("~ recipe | hot")
    assert_frame_equal(mapped.to_frame(), expected)
    only = lme.lmer(formula, data).fit().emmeans("recipe", at={"hot": True})
    assert_allclose(only.to_frame()["estimate"], expected["estimate"].iloc[3:])


def test_numbers_as_factors(cake):
    res = lme.lmer("angle ~ recipe + factor(temp) + (1 | replicate)", cake).fit()
    frame = res.emmeans("temp", at={"temp": [175, 225]}).to_frame()
    by_name = lme.lmer("angle ~ recipe + temperature + (1 | replicate)", cake).fit()
    at = {"temperature": ["175", "225"]}
    expected = by_name.emmeans("temperature", at=at).to_frame()
    assert_allclose(frame["estimate"], expected["estimate"])
    with pytest.raises(OptionError, match="'180' is not a level of 'temp'"):
        res.emmeans("temp", at={"temp": 180})


def test_overall_mean(res):
    frame = res.emmeans("~ 1").to_frame()
    assert len(frame) == 1
    three = res.emmeans("recipe").to_frame()["estimate"]
    assert_allclose(frame["estimate"], three.mean())
    assert len(repr(res.emmeans([]).contrast("identity")).splitlines()) > 3


# --- scales -----------------------------------------------------------------------


def test_regrid_of_a_linear_model_changes_nothing(means):
    assert means.regrid() is means


def test_identity_links_and_rates():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 8), "x": list("ab") * 40})
    frame["k"] = rng.poisson(9, 80)
    plain = lme.glmer("k ~ x + (1 | g)", frame, family="poisson", link="identity").fit()
    found = plain.emmeans("x", type="response")
    assert str(found) == str(plain.emmeans("x"))
    assert_allclose(found.to_frame()["estimate"], plain.params.to_numpy().cumsum())
    family = lme.families.NegativeBinomial(2.5)
    rates = lme.glmer("k ~ x + (1 | g)", frame, family=family).fit()
    table = rates.emmeans("x", type="response").to_frame()
    assert_allclose(table["estimate"], np.exp(rates.params.to_numpy().cumsum()))


def test_tests_against_another_value(means):
    found = means.summary(null=30.0, infer=(True, True))
    frame = found.to_frame()
    assert_allclose(frame["t"], (frame["estimate"] - 30.0) / frame["se"])
    assert "against 30 on the scale of the predictor" in str(found)


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda r: r.emmeans("recip"), OptionError, "Did you mean 'recipe'"),
        (lambda r: r.emmeans("angle"), OptionError, "no variable of the fixed part"),
        (lambda r: r.emmeans("recipe", by="tmp"), OptionError, "mean 'temp'"),
        (lambda r: r.emmeans(["recipe", "recipe"]), OptionError, "named twice"),
        (lambda r: r.emmeans(None), DataTypeError, "NoneType"),
        (lambda r: r.emmeans("~ a | b | c"), FormulaError, "more than one"),
        (lambda r: r.emmeans("~ log(temp)"), FormulaError, "name x"),
        (lambda r: r.emmeans("pairwse ~ recipe"), OptionError, "mean 'pairwise'"),
        (lambda r: r.emmeans("recipe", weights="eqal"), OptionError, "'equal'"),
        (lambda r: r.emmeans("recipe", type="mean"), OptionError, "'link', 'resp"),
        (lambda r: r.emmeans("recipe", ddf="kr"), OptionError, "kenward-roger"),
        (lambda r: r.emmeans("recipe", level=95), OptionError, "between 0 and 1"),
        (lambda r: r.emmeans("recipe", at=["temp"]), DataTypeError, "mapping"),
        (lambda r: r.emmeans("recipe", at={"tmp": 1}), OptionError, "mean 'temp'"),
        (lambda r: r.emmeans("recipe", at={"temp": []}), OptionError, "no value"),
        (lambda r: r.emmeans("recipe", at={"temp": "hot"}), OptionError, "numeric"),
        (lambda r: r.emmeans("recipe", at={"recipe": "D"}), OptionError, "levels are"),
        (lambda r: r.emtrends("temp", "recipe"), OptionError, "a factor"),
        (lambda r: r.emtrends("recipe", "tmp"), OptionError, "mean 'temp'"),
        (lambda r: reference_grid(r.model.design, 5), DataTypeError, "at is of type"),
    ],
)
def test_refusals(res, call, error, message):
    with pytest.raises(error, match=message):
        call(res)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.pairs(adjust="tuky"), "Did you mean 'tukey'"),
        (lambda m: m.contrast("polly"), "Did you mean 'poly'"),
        (lambda m: m.contrast([1, -1]), "3 finite coefficients"),
        (lambda m: m.contrast({"a": [1, 2, "x"]}), "3 finite coefficients"),
        (lambda m: m.contrast("trt.vs.ctrl", ref="D"), "one of 'A', 'B', 'C'"),
        (lambda m: m.contrast("trt.vs.ctrl", ref=3), "from 0 to 2"),
        (lambda m: m.pairs(by="temp"), "They have 'recipe'"),
        (lambda m: m.summary(infer=(True,)), "a pair"),
        (lambda m: m.summary(level=1.0), "between 0 and 1"),
        (lambda m: m.summary(type="odds"), "'link', 'response'"),
    ],
)
def test_refusals_of_means(means, call, message):
    with pytest.raises(OptionError, match=message):
        call(means)


def test_models_without_means(cake, herds):
    arrays = lme.LMM(cake["angle"], np.ones((270, 1)), groups=cake["replicate"]).fit()
    with pytest.raises(DesignError, match="made from arrays"):
        arrays.emmeans("x")
    bare = lme.lmer("angle ~ 0 + (1 | replicate)", cake).fit()
    with pytest.raises(OptionError, match="no fixed effects"):
        bare.emmeans([])
    with pytest.raises(OptionError, match="for linear mixed models"):
        herds.emmeans("period", ddf="kenward-roger")
    with pytest.raises(OptionError, match="regrid"):
        herds.emmeans("period").pairs().regrid()


def test_a_slope_needs_a_predictor_that_varies(cake):
    frame = cake.assign(two=2.0)
    res = lme.lmer("angle ~ 0 + two + recipe:temp + (1 | replicate)", frame).fit()
    with pytest.raises(OptionError, match="'two' is the same in all rows"):
        res.emtrends("recipe", "two")


def test_grids_that_are_too_large(res, monkeypatch):
    monkeypatch.setattr("lme.inference.marginal.reference_grid.MAX_ROWS", 2)
    with pytest.raises(DesignError, match=r"has 3 rows.*At most 2.*with at="):
        res.emmeans("recipe")


def test_specifications():
    assert read_specs("`my var`:b | `a*b`", "g") == ("", ["`my var`:b | `a*b`"], ["g"])
    assert read_specs("~ `my var`:b | `a*b`", "g") == (
        "",
        ["my var", "b"],
        ["a*b", "g"],
    )
    assert read_specs(["a", "b"], None) == ("", ["a", "b"], [])
