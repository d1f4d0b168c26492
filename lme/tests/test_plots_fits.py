"""Figures of a fit: lines by group, residuals, matrices."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import lme
from lme.errors import FitError, FormulaError, GroupError, OptionError
from lme.inference.measures.within_groups import lmList
from lme.report.plots.curves import normal_band, normal_quantiles
from lme.tests.plotting import (
    LOAD,
    drawn,
    dyestuff,
    herds,
    line,
    one,
    penicillin,
    points,
    sleep,
    ticks,
)

# --- lines by group ---------------------------------------------------------------


def test_lines_by_group():
    result = sleep()
    figure = result.plot_fit()
    fits = lmList("Reaction ~ Days | Subject", LOAD("sleepstudy")).coef()
    ordered = fits.sort_values("(Intercept)").index
    assert [axes.get_title() for axes in figure.axes] == list(ordered)
    for axes, name in zip(figure.axes, ordered, strict=True):
        for kind, coefficients in (
            ("within", fits.loc[name]),
            ("population", result.fixef()),
            ("mixed", result.coef()["Subject"].loc[name]),
        ):
            x, y = line(axes, kind).T
            assert np.allclose(y, coefficients.iloc[0] + coefficients.iloc[1] * x)


def test_choices_of_lines_and_panels():
    figure = sleep().plot_fit(levels=["308", 335], lines="mixed", order="level")
    assert [axes.get_title() for axes in figure.axes] == ["308", "335"]
    assert drawn(figure.axes[0], "within") == []
    figure = sleep().plot_fit(max_panels=4)
    assert "4 of 18 Subject" in figure._supxlabel.get_text()


def test_lines_of_a_generalized_model_are_means():
    result = herds()
    figure = result.plot_fit(order="level")
    data = LOAD("cbpp")
    data["mu"] = result.fittedvalues
    data["pop"] = result.predict(re_form="none")
    for axes, name in zip(figure.axes, data["herd"].cat.categories, strict=True):
        part = data[data["herd"] == name]
        at = part["period"].cat.codes.to_numpy()
        assert np.allclose(line(axes, "mixed")[at, 1], part["mu"])
        assert np.allclose(line(axes, "population")[at, 1], part["pop"])


def test_lines_at_other_variables_and_subsets():
    """Lines hold what does not change in the group; rows left out are not drawn."""
    data = LOAD("Orthodont")
    formula = "log(distance) ~ age * Sex + (age | Subject)"
    result = lme.lmer(formula, data, subset="age > 8").fit()
    figure = result.plot_fit(levels="F01")
    axes = figure.axes[0]
    assert sorted(points(axes)[:, 0]) == [10.0, 12.0, 14.0]
    new = data[(data["Subject"] == "F01") & (data["age"] > 8)]
    x, y = line(axes, "mixed").T
    assert np.allclose(np.interp(new["age"], x, y), result.predict(new))


def test_lines_of_curves_are_smooth():
    result = lme.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", LOAD("sleepstudy"))
    axes = result.fit().plot_fit().axes[0]
    assert len(line(axes, "mixed")) > 30


def test_a_number_that_is_a_factor_has_its_values():
    result = lme.lmer("Reaction ~ factor(Days) + (1 | Subject)", LOAD("sleepstudy"))
    axes = result.fit().plot_fit(levels="308").axes[0]
    assert line(axes, "mixed")[:, 0].tolist() == list(range(10))


def test_lines_without_the_data_go_through_the_rows():
    data = LOAD("sleepstudy")
    X = np.column_stack([np.ones(180), data["Days"]])
    result = lme.LMM(data["Reaction"].to_numpy(), X, groups=data["Subject"]).fit()
    axes = result.plot_fit(levels="308").axes[0]
    assert np.allclose(line(axes, "mixed")[:, 1], result.fittedvalues[:10])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"x": "Dayz"}, FormulaError, "Did you mean 'Days'.*\n  Dayz\n  \\^{4}$"),
        ({"group": "Subj"}, GroupError, "Did you mean 'Subject'"),
        ({"levels": ["999"]}, OptionError, "no '999'"),
        ({"lines": "mixd"}, OptionError, "Did you mean 'mixed'"),
        ({"order": "size"}, OptionError, "'intercept'"),
        ({"max_panels": 10_000}, OptionError, "too many"),
    ],
)
def test_wrong_options_of_lines(options, error, words):
    with pytest.raises(error, match=words):
        sleep().plot_fit(**options)


def test_lines_need_a_variable():
    with pytest.raises(OptionError, match=r"plot_ranef\(\)"):
        dyestuff().plot_fit()


# --- residuals --------------------------------------------------------------------


def test_residuals_over_fitted_values():
    result = sleep()
    axes = result.plot_resid().axes[0]
    expected = np.column_stack([result.fittedvalues, result.resid])
    assert np.allclose(points(axes), expected)
    assert line(axes, "zero")[0, 1] == 0.0
    assert len(line(axes, "smoother")) > 100
    axes = result.plot_resid(labels=2, smooth=False).axes[0]
    assert {each.get_text() for each in drawn(axes, "label")} == {"56", "7"}
    assert drawn(axes, "smoother") == []


def test_marginal_residuals_over_a_variable():
    """Textbook figure 21.4."""
    result = sleep()
    axes = result.plot_resid("Days", kind="marginal").axes[0]
    assert np.allclose(points(axes)[:, 1], result.residuals("marginal"))
    days = LOAD("sleepstudy")["Days"]
    assert np.abs(points(axes)[:, 0] - days).max() < 0.2
    still = result.plot_resid("Days", kind="marginal", jitter=False).axes[0]
    assert np.array_equal(points(still)[:, 0], days)


def test_residuals_by_group():
    axes = sleep().plot_resid("Subject", standardize="leverage").axes[0]
    rows = LOAD("sleepstudy")["Subject"]
    means = sleep().residuals(standardize="leverage").groupby(rows, observed=True)
    assert ticks(axes.xaxis) == list(means.mean().sort_values().index)
    assert axes.get_ylabel() == "conditional standardized residual"


def test_residuals_by_colour():
    result = lme.lmer("distance ~ age + (1 | Subject)", LOAD("Orthodont")).fit()
    axes = result.plot_resid("log(age)", color="Sex").axes[0]
    assert [len(each.get_offsets()) for each in drawn(axes, "points")] == [64, 44]


def test_rows_left_out_of_residuals():
    data = LOAD("sleepstudy")
    data.loc[[3, 50], "Reaction"] = np.nan
    result = lme.lmer("Reaction ~ Days + (1 | Subject)", data, na_action="exclude")
    axes = result.fit().plot_resid("Days", jitter=False).axes[0]
    kept = data["Days"][data["Reaction"].notna()]
    assert np.array_equal(points(axes)[:, 0], kept)


def test_scale_location():
    axes = sleep().plot_scale_location().axes[0]
    expected = np.sqrt(np.abs(sleep().residuals(standardize="leverage")))
    assert np.allclose(points(axes)[:, 1], expected)


def test_quantiles_of_residuals():
    axes = sleep().plot_qq().axes[0]
    values = np.sort(sleep().residuals(standardize="leverage"))
    assert np.allclose(points(axes), np.column_stack([normal_quantiles(180), values]))
    x, y = line(axes, "line").T
    assert np.allclose(x, y)
    assert {each.get_text() for each in drawn(axes, "label")} == {"56", "59", "7"}
    # Residuals on their own scale have a line through the quartiles.
    axes = sleep().plot_qq(type="response").axes[0]
    x, y = line(axes, "line").T
    low, high = np.quantile(sleep().resid, [0.25, 0.75])
    assert np.allclose(np.interp([-0.6744898, 0.6744898], x, y), [low, high])


def test_band_of_quantiles_covers_a_normal_sample():
    """Each order statistic is inside with the coverage."""
    rng = np.random.default_rng(4)
    low, high = normal_band(25, 0.9)
    samples = np.sort(rng.normal(size=(4000, 25)), axis=1)
    share = ((samples > low) & (samples < high)).mean(axis=0)
    assert np.abs(share - 0.9).max() < 0.02


def test_residuals_of_a_generalized_model_are_normal_scores():
    result = herds()
    axes = result.plot_resid(seed=5).axes[0]
    scores = result.residuals("conditional", "quantile", True, seed=5)
    assert np.allclose(points(axes)[:, 1], scores)
    sorted_scores = points(result.plot_qq(type="quantile", seed=5).axes[0])[:, 1]
    assert np.allclose(sorted_scores, np.sort(scores))
    assert axes.get_ylabel() == "quantile residual"
    assert axes.get_xlabel() == "linear predictor"
    axes = result.plot_resid(type="pearson").axes[0]
    assert np.allclose(points(axes)[:, 1], result.residuals(type="pearson"))


def test_four_views():
    for result in (sleep(), herds(), dyestuff("Dyestuff2")):
        figure = result.plot_diagnostics()
        assert len(figure.axes) == 4
        figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"x": "Dayz"}, FormulaError),
        ({"kind": "x"}, OptionError),
        ({"type": "x"}, OptionError),
        ({"labels": -1}, OptionError),
        ({"labels": True}, OptionError),
        ({"color": "Subjet"}, FormulaError),
    ],
)
def test_wrong_options_of_residuals(options, error):
    with pytest.raises(error):
        sleep().plot_resid(**options)


# --- matrices ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Z", "Lambda", "L", "A", "RX", "X", "Lambdat"])
def test_matrices_are_those_of_the_model(name):
    result = sleep()
    expected = result.getME(name)
    dense = expected.toarray() if hasattr(expected, "toarray") else expected
    shown = one(result.plot_matrix(name).axes[0], "image").get_array()
    assert np.allclose(np.ma.filled(shown, 0.0), dense)


def test_factors_of_the_covariance():
    """Lambda = T S, and Sigma = T S S T' (S2's slides)."""
    result = sleep()

    def shown(name):
        return one(result.plot_matrix(name).axes[0], "image").get_array().filled(0.0)

    T, S = shown("T"), shown("S")
    assert np.allclose(T @ S, shown("Lambda"))
    assert np.allclose(np.diag(T), 1.0)
    assert np.allclose(T @ S @ S @ T.T, shown("Sigma"))


def test_patterns_and_borders():
    """Stored zeros are part of a pattern; terms are told apart."""
    figure = penicillin().plot_matrix("ZtZ", values=False)
    image = one(figure.axes[0], "image").get_array()
    Z = penicillin().getME("Z")
    assert np.array_equal(np.ma.filled(image, 0.0), (Z.T @ Z).toarray() != 0)
    assert len(drawn(figure.axes[0], "border")) == 2
    assert "30 by 30, 318 stored" in figure.axes[0].get_title(loc="left")
    singular = dyestuff("Dyestuff2").plot_matrix("Lambda").axes[0]
    assert np.ma.count(one(singular, "image").get_array()) == 6


def test_large_matrices_are_blocks():
    rng = np.random.default_rng(5)
    data = {"y": rng.normal(size=3000), "g": np.repeat(np.arange(1000), 3)}
    result = lme.lmer("y ~ 1 + (1 | g)", data).fit()
    axes = result.plot_matrix("Z").axes[0]
    image = one(axes, "image").get_array()
    assert image.shape == (500, 500)
    # 6 rows and 2 columns a block, of which each row has one entry.
    assert np.allclose(np.diag(image), 0.5)
    assert image.sum() == pytest.approx(250)


def test_unknown_matrix():
    with pytest.raises(OptionError, match=r"'Z', .*Did you mean 'Lambda'"):
        sleep().plot_matrix("lambda")


# --- results without data ---------------------------------------------------------


@pytest.mark.parametrize("name", ["fit", "ranef", "shrinkage", "resid", "qq", "matrix"])
def test_figures_need_the_data(name):
    light = sleep().without_data()
    with pytest.raises(FitError, match=f"plot_{name} needs the data"):
        getattr(light, f"plot_{name}")()
