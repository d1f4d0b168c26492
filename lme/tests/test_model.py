"""Building, checking, fitting and changing models."""

import logging
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from statsmodels.base.model import LikelihoodModel

import lme
from lme.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    DataWarning,
    DesignError,
    FormulaError,
    LMEError,
    OptionError,
    RankWarning,
)
from lme.formula.checks import CHECKS, severities
from lme.formula.revision import revise
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def sleep():
    return data("sleepstudy")


def close(value, expected, rtol=1e-6, atol=0.0):
    np.testing.assert_allclose(
        np.asarray(value, float), np.asarray(expected, float), rtol=rtol, atol=atol
    )


# --- building ------------------------------------------------------------------------


def test_a_model_is_one_of_statsmodels(sleep):
    model = lme.lmer(SLEEP, sleep)
    assert isinstance(model, LikelihoodModel)
    assert model.exog_names == ["(Intercept)", "Days"]
    assert model.endog_names == "Reaction"
    assert model.exog.shape == (180, 2) and model.endog.shape == (180,)
    assert model.k_constant == 1 and model.data.const_idx == 0
    assert model.formula == SLEEP
    assert model.data.frame is sleep
    close(model.data.orig_exog["Days"], sleep["Days"])
    close(model.data.orig_endog, sleep["Reaction"])
    assert model.data.row_labels.equals(sleep.index)


def test_from_formula_is_lmer(sleep):
    first = lme.lmer(SLEEP, sleep, REML=False).fit()
    second = lme.LMM.from_formula(SLEEP, sleep, REML=False).fit()
    assert first.objective == second.objective

    class Own(lme.LMM):
        pass

    assert isinstance(Own.from_formula(SLEEP, sleep), Own)
    with pytest.raises(OptionError, match=r"'weight' is not .* mean 'weights'"):
        lme.LMM.from_formula(SLEEP, sleep, weight=None)


@pytest.mark.parametrize(
    "formula, constant",
    [
        ("Reaction ~ 0 + Days + (1 | Subject)", 0),
        ("Reaction ~ 0 + factor(Days) + (1 | Subject)", 1),
        ("Reaction ~ 1 + (1 | Subject)", 1),
    ],
)
def test_constants(formula, constant, sleep):
    model = lme.lmer(formula, sleep)
    assert model.k_constant == constant
    assert model.fit().df_model == model.exog.shape[1] - constant


def test_reml_is_the_default_and_fit_decides(sleep):
    model = lme.lmer(SLEEP, sleep)
    assert model.reml and model.fit().reml
    assert not model.fit(reml=False).reml
    assert not lme.lmer(SLEEP, sleep, REML=False).fit().reml
    with pytest.raises(OptionError, match="REML='yes' is not a truth value"):
        lme.lmer(SLEEP, sleep, REML="yes")


def test_fitting_changes_neither_model_nor_data(sleep):
    before = sleep.copy(deep=True)
    model = lme.lmer(SLEEP, sleep.assign(Twice=2 * sleep["Days"]))
    state = set(model.__dict__), model.exog.copy(), model.endog.copy()
    first = model.fit()
    second = model.fit()
    assert first.objective == second.objective
    assert set(model.__dict__) == state[0]
    np.testing.assert_array_equal(model.exog, state[1])
    np.testing.assert_array_equal(model.endog, state[2])
    pd.testing.assert_frame_equal(sleep, before)


def test_matrices(sleep):
    X = np.column_stack([np.ones(180), sleep["Days"]])
    expected = lme.lmer(SLEEP, sleep).fit()
    res = lme.LMM(sleep["Reaction"], X, groups=sleep["Subject"], exog_re=X).fit()
    close(res.objective, expected.objective, 1e-12)
    assert list(res.params.index) == ["const", "x1"]
    assert list(res.ranef()["Subject"].columns) == ["const", "x1"]
    assert res.model.formula == "Reaction ~ const + x1 + (const + x1 | Subject)"
    frame = pd.DataFrame({"one": 1.0, "day": sleep["Days"]})
    named = lme.LMM(
        sleep["Reaction"].to_numpy(), frame, groups=sleep["Subject"].to_numpy()
    ).fit(reml=False)
    assert list(named.params.index) == ["one", "day"]
    assert list(named.ngroups.index) == ["group"]
    assert list(named.ranef()["group"].columns) == ["one"]


def test_matrices_with_several_terms(sleep):
    expected = lme.lmer("Reaction ~ Days + (Days || Subject)", sleep).fit()
    X = np.column_stack([np.ones(180), sleep["Days"]])
    for extra in (
        {"exog_re": {"Subject": [np.ones(180), sleep["Days"]]}},
        {"exog_re": {"Subject": X}, "structure": "diag"},
        {"exog_re": {"Subject": X}, "structure": {"Subject": "diag"}},
    ):
        groups = {"Subject": sleep["Subject"]}
        res = lme.LMM(sleep["Reaction"], X, groups=groups, **extra).fit()
        close(res.objective, expected.objective, 1e-12)
    pen = data("Penicillin")
    both = lme.LMM(pen["diameter"], np.ones(144), groups=pen[["sample", "plate"]])
    assert [term.group for term in both.design.terms] == ["plate", "sample"]
    assert both.fit(reml=False).objective == pytest.approx(332.18834867, abs=1e-7)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"groups": None}, DataError, "groups is missing"),
        ({"endog": ["a"] * 4}, DataTypeError, "endog is not numeric"),
        ({"endog": np.ones((4, 2))}, DataError, "call refit"),
        ({"exog": np.ones((3, 1))}, DataError, "exog has 3 rows and endog has 4"),
        ({"exog": np.array([1, 2, np.nan, 4])}, DataError, "1 missing or infinite"),
        ({"groups": list("aab")}, DataError, "has 3 rows and endog has 4"),
        ({"groups": ["a", "a", "b", None]}, DataError, "missing values in 1 rows"),
        ({"weights": [1, 1, 1, 0]}, DataError, "not positive"),
        ({"structure": "ar2"}, OptionError, "Expected one of 'us', 'diag', 'homdiag'"),
        ({"exog_re": {"h": np.ones(4)}}, OptionError, "not in groups"),
        (
            {"groups": {"g": list("aabb")}, "exog_re": np.ones(4)},
            DataTypeError,
            "names",
        ),
        (
            {"exog": pd.DataFrame(np.eye(4)[:, :2], columns=["a", "a"])},
            DataError,
            "2 columns are called 'a'",
        ),
        ({"endog": []}, DataError, "endog has no rows"),
    ],
)
def test_matrices_that_cannot_be_used(change, error, message):
    arguments = {
        "endog": np.array([1.0, 2, 4, 3]),
        "exog": np.ones(4),
        "groups": list("aabb"),
    } | change
    with pytest.raises(error, match=message):
        lme.LMM(**arguments)


def test_a_dict_of_arrays(sleep):
    columns = {name: sleep[name].to_numpy() for name in sleep}
    close(lme.lmer(SLEEP, columns).fit().objective, 1743.628271958491, 1e-12)


def test_subset_and_index(sleep):
    frame = sleep.set_index(np.arange(1000, 1180))
    res = lme.lmer(SLEEP, frame, subset=frame["Days"] >= 2).fit()
    assert res.nobs == 144
    assert list(res.fittedvalues.index[:2]) == [1002, 1003]
    close(
        res.fittedvalues, lme.lmer(SLEEP, frame[frame["Days"] >= 2]).fit().fittedvalues
    )


def test_missing_values(sleep):
    """E.4 #50, #51, #53."""
    frame = sleep.assign(
        Reaction=sleep["Reaction"].where(sleep.index >= 3), other=np.nan
    )
    frame.index = [f"a{i + 1}" for i in range(180)]
    omit = lme.lmer(SLEEP, frame).fit()
    assert omit.nobs == 177 and omit.fittedvalues.index[0] == "a4"
    exclude = lme.lmer(SLEEP, frame, na_action="exclude").fit()
    for name in ("fittedvalues", "resid"):
        padded = getattr(exclude, name)
        assert len(padded) == 180 and padded.iloc[:3].isna().all()
        pd.testing.assert_series_equal(padded.iloc[3:], getattr(omit, name))
    assert len(exclude.residuals("marginal")) == 180
    assert len(exclude.predict()) == 180
    with pytest.raises(DataError, match="na_action='fail'"):
        lme.lmer(SLEEP, frame, na_action="fail")
    full = sleep["Reaction"].to_numpy() + 1
    close(exclude.refit(full).params, omit.refit(full[3:]).params, 1e-10)


def test_model_pickles(sleep):
    model = lme.lmer(SLEEP, sleep, checks={"few_levels": "warn"})
    copy = pickle.loads(pickle.dumps(model))
    assert copy.fit().objective == model.fit().objective
    assert copy.exog_names == model.exog_names


def test_base_methods_that_make_no_sense(sleep):
    model = lme.lmer(SLEEP, sleep)
    with pytest.raises(OptionError, match="profiled over beta"):
        model.loglike([1.0, 2.0])


# --- rank and identifiability (E.3) ------------------------------------------------


@pytest.fixture
def dependent():
    rng = np.random.default_rng(5)
    x = rng.normal(size=60)
    return pd.DataFrame(
        {
            "z": x + rng.normal(size=60) + np.repeat(rng.normal(size=10), 6),
            "x": x,
            "y": x,
            "r": np.repeat(list("abcdefghij"), 6),
        }
    )


def test_dependent_columns_are_dropped(dependent):
    """E.3 #39, #43: earlier columns stay; the dropped one is NaN on request."""
    model = lme.lmer("z ~ x + y + (1 | r)", dependent)
    with pytest.warns(RankWarning, match="rank deficient: y is a linear comb") as seen:
        res = model.fit()
    assert len(seen) == 1 and seen[0].filename == __file__
    assert list(res.params.index) == ["(Intercept)", "x"]
    whole = res.fixef(add_dropped=True)
    assert list(whole.index) == ["(Intercept)", "x", "y"]
    assert whole.isna().tolist() == [False, False, True]
    assert res.model.exog_names == ["(Intercept)", "x"]
    assert model.exog_names == ["(Intercept)", "x", "y"]
    assert res.cov_params().shape == (2, 2) and res.npar == 4
    plain = lme.lmer("z ~ x + (1 | r)", dependent).fit()
    close(res.objective, plain.objective, 1e-12)
    assert any(isinstance(w, RankWarning) for w in res.warnings)
    assert "rank deficient: y" in res.summary().as_text()
    close(res.t_test("x = 0").statistic, plain.t_test("x = 0").statistic)
    with pytest.raises(OptionError, match="cannot be read"):
        res.t_test("y = 0")


def test_dependent_columns_in_other_severities(dependent):
    with pytest.raises(LMEError, match="rank deficient"):
        lme.lmer("z ~ x + y + (1 | r)", dependent, checks={"rank": "stop"}).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = lme.lmer("z ~ x + y + (1 | r)", dependent, checks={"rank": "ignore"})
        assert len(quiet.fit().params) == 2
        name = "check.rankX"
        silent = lme.lmer(
            "z ~ x + y + (1 | r)", dependent, checks={name: "silent.drop.cols"}
        )
        assert len(silent.fit().params) == 2


def test_nearly_dependent_columns_stay(dependent):
    """E.3 #40."""
    frame = dependent.copy()
    frame.loc[0, "y"] += 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        res = lme.lmer("z ~ x + y + (1 | r)", frame).fit()
    assert len(res.params) == 3


@pytest.mark.filterwarnings("ignore::lme.errors.RankWarning")
def test_empty_cell():
    """E.3 #41: a*b with an empty cell is the one-factor model of its cells."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "a": np.tile(["u", "v"], 60),
            "b": np.tile(np.repeat(["p", "q", "s"], 2), 20),
            "g": np.repeat(np.arange(12), 10).astype(str),
            "y": rng.normal(size=120),
        }
    )
    frame["ab"] = frame["a"] + frame["b"]
    frame = frame[frame["ab"] != "vs"]
    crossed = lme.lmer("y ~ a * b + (1 | g)", frame, REML=False).fit()
    cells = lme.lmer("y ~ ab + (1 | g)", frame, REML=False).fit()
    close(crossed.llf, cells.llf, 1e-10)
    assert crossed.npar == cells.npar
    close(crossed.fittedvalues, cells.fittedvalues, 1e-6)
    assert crossed.wald_test_terms().table["df_constraint"].sum() == 5
    # E.3 #42: the dropped column is dropped in new rows too.
    close(crossed.predict(frame), crossed.fittedvalues, 1e-10)


def small(n=5):
    return pd.DataFrame(
        {"y": np.arange(n) ** 1.5, "x": np.cos(np.arange(n)), "g": list("abcde")[:n]}
    )


REFUSED = [
    (
        "levels",
        "check.nobs.vs.nlev",
        "y ~ 1 + (1 | g)",
        small(),
        "'g' has 5 levels for 5 observations",
    ),
    (
        "random_effects",
        "check.nobs.vs.nRE",
        SLEEP,
        None,
        r"36 observations and 36 random effects for the term \(1 \+ Days \| Subject\)",
    ),
    (
        "one_level",
        "check.nlev.gtr.1",
        "y ~ x + (1 | g)",
        small().assign(g="a"),
        "'g' has 1 level",
    ),
    (
        "constant_response",
        "check.response.not.const",
        "y ~ x + (1 | g)",
        small().assign(y=3, g=list("aabbb")),
        "'y' is constant: it is 3",
    ),
]


@pytest.mark.parametrize("name, lme4, formula, frame, message", REFUSED)
@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_models_that_cannot_be_identified(name, lme4, formula, frame, message):
    """E.3 #44 to #46, E.1 #20."""
    if frame is None:
        frame = data("sleepstudy")
        frame = frame[frame["Days"] < 2]
    with pytest.raises(DesignError, match=message) as caught:
        lme.lmer(formula, frame)
    assert caught.value.expected
    with pytest.warns(DataWarning, match=message) as seen:
        model = lme.lmer(formula, frame, checks={lme4: "warning"})
    assert seen[0].filename == __file__
    assert len(model.warnings) == 1
    assert lme.lmer(formula, frame, checks={name: "ignore"}).warnings == ()


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_ignoring_a_check_fits(sleep):
    """E.3 #45."""
    frame = sleep[sleep["Days"] < 2]
    res = lme.lmer(SLEEP, frame, checks="ignore").fit()
    assert np.isfinite(res.objective) and res.nobs == 36


def test_scales_of_predictors(sleep):
    """E.3 #47."""
    frame = sleep.assign(big=np.sin(sleep.index) * 1e6)
    with pytest.warns(DataWarning, match="different scales: 'big'"):
        res = lme.lmer(
            "Reaction ~ Days + big + (1 | Subject)", frame, checks={"scale": "warn"}
        ).fit()
    scaled = lme.lmer("Reaction ~ Days + I(big/1e6) + (1 | Subject)", frame).fit()
    close(res.params.iloc[2] * 1e6, scaled.params.iloc[2], 1e-6)
    assert res.warnings[0].args[0] in res.summary().as_text().replace("\n    ", " ")


def test_few_levels_only_on_request():
    frame = pd.DataFrame({"y": np.arange(20.0) ** 2, "g": np.repeat(list("abcd"), 5)})
    assert lme.lmer("y ~ 1 + (1 | g)", frame).warnings == ()
    with pytest.warns(DataWarning, match="only 4 levels"):
        lme.lmer("y ~ 1 + (1 | g)", frame, checks={"few_levels": "warn"})


def test_severities():
    assert severities(None) == {name: check.default for name, check in CHECKS.items()}
    assert set(severities("ignore").values()) == {"ignore"}
    assert severities({"check.scaleX": "message"})["scale"] == "warn"
    with pytest.raises(OptionError, match=r"no check 'rnk'.*Did you mean 'rank'"):
        severities({"rnk": "stop"})
    with pytest.raises(OptionError, match="severity 'never'"):
        severities({"rank": "never"})
    with pytest.raises(OptionError, match="severity 3"):
        severities({"rank": 3})


def test_no_rows_left(sleep):
    """E.3 #48."""
    with pytest.raises(DataError, match=r"0 \(non-NA\) cases"):
        lme.lmer(SLEEP, sleep.assign(Days=np.nan))
    with pytest.raises(LMEError, match="refit"):
        lme.lmer("cbind(Reaction, Days) ~ 1 + (1 | Subject)", sleep)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula, error, message",
    [
        ("Reactoin ~ Day + (Dys | Subject)", FormulaError,
         r"'Reactoin', 'Day', 'Dys'.*Did you mean 'Reaction'"),
        ("Reaction ~ Days", FormulaError, "No random effects terms"),
        ("Reaction ~ Days | Subject + Days", FormulaError, "no parentheses"),
        ("Reaction ~ Days + (1 | Subject", FormulaError, r"\("),
        ("~ Days + (1 | Subject)", FormulaError, "no response"),
        ("", FormulaError, "empty"),
        (None, DataTypeError, "type NoneType"),
        ("Subject ~ Days + (1 | Subject)", DataTypeError, "text or categories"),
    ],
)  # fmt: skip
def test_bad_formulas(formula, error, message, sleep):
    with pytest.raises(error, match=message) as caught:
        lme.lmer(formula, sleep)
    assert isinstance(caught.value, LMEError)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda d: d.iloc[:0], DataError, r"no rows: 0 \(non-NA\) cases"),
        (lambda d: d.assign(Reaction=np.inf), DataError, "infinite or not a number"),
        (lambda d: pd.concat([d, d[["Days"]]], axis=1), DataError, "more than one col"),
        (lambda d: 3, DataTypeError, "type int"),
        (lambda d: None, DataTypeError, "type NoneType"),
        (lambda d: d.to_numpy().tolist(), DataTypeError, "type list"),
    ],
)
def test_bad_data(change, error, message, sleep):
    with pytest.raises(error, match=message):
        lme.lmer(SLEEP, change(sleep))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"weights": "wt"}, FormulaError, "no column 'wt'"),
        ({"weights": np.ones(3)}, DataError, r"shape \(3,\)"),
        ({"weights": np.zeros(180)}, DataError, "finite and positive"),
        ({"offset": np.ones(7)}, DataError, r"shape \(7,\)"),
        ({"na_action": "drop"}, OptionError, "'omit', 'exclude', 'fail'"),
        ({"contrasts": {"Dys": "contr.sum"}}, OptionError, "not a factor"),
    ],
)
def test_bad_options(options, error, message, sleep):
    with pytest.raises(error, match=message):
        lme.lmer(SLEEP, sleep, **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": [1.0]}, "3 covariance parameters"),
        ({"start": {"Theta": 1}}, "Did you mean 'theta'"),
        ({"optimizer": "neldermead"}, "nelder-mead"),
        ({"control": {"max_evals": 3}}, "Did you mean 'max_evaluations'"),
    ],
)
def test_bad_fit_options(options, message, sleep):
    with pytest.raises(OptionError, match=message):
        lme.lmer(SLEEP, sleep).fit(**options)


def test_cut_short(sleep):
    """E.1 #24: a warning, not converged, and the object still usable."""
    model = lme.lmer(SLEEP, sleep)
    with pytest.warns(ConvergenceWarning, match="cut short") as seen:
        res = model.fit(control={"max_evaluations": 1})
    assert seen[0].filename == __file__
    assert not res.converged
    assert len(res.trace) == 1
    assert "not converged" in res.summary().as_text()
    assert np.isfinite(res.params).all()


def test_start_and_verbose(sleep, caplog):
    model = lme.lmer(SLEEP, sleep)
    usual = model.fit()
    with caplog.at_level(logging.INFO, logger="lme"):
        again = model.fit(start={"theta": usual.theta}, verbose=1)
    close(again.objective, usual.objective, 1e-12)
    assert again.trace["objective"].iloc[0] == pytest.approx(usual.objective, abs=1e-6)
    assert caplog.records


# --- changing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("y ~ x + (x || g)", ". ~ . - (0 + x | g)", "y ~ x + (1 | g)"),
        ("y ~ x + (1 | g)", "log(.) ~ .", "log(y) ~ x + (1 | g)"),
        ("y ~ x * z + (1 | g)", "~ . - x:z", "y ~ x + z + (1 | g)"),
        ("y ~ x + (1 | g)", ". ~ . - (1 | g) + (x | g)", "y ~ x + (x | g)"),
        ("y ~ x + (1 | g)", "z ~ 1 + (1 | h)", "z ~ 1 + (1 | h)"),
        ("y ~ x + z + (1 | g)", ". ~ . - (x + z)", "y ~ 1 + (1 | g)"),
        ("y ~ x + (1 | g)", ". ~ . - 1", "y ~ 0 + x + (1 | g)"),
    ],
)
def test_revised_formulas(old, new, expected):
    found, right = lme.parse_formula(revise(old, new)), lme.parse_formula(expected)
    for part in ("response", "fixed", "intercept", "random"):
        assert getattr(found, part) == getattr(right, part)


def test_revisions_that_cannot_be(sleep):
    with pytest.raises(FormulaError, match=r"no random term \(1 \| h\).*\(1 \| g\)"):
        revise("y ~ x + (1 | g)", ". ~ . - (1 | h)")
    with pytest.raises(FormulaError, match="has no ~"):
        revise("y ~ x + (1 | g)", ". + x")


def test_update(sleep):
    """E.2 #32."""
    res = lme.lmer("Reaction ~ Days + (Days || Subject)", sleep).fit()
    less = res.update(". ~ . - (0 + Days | Subject)")
    close(
        less.objective,
        lme.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit().objective,
    )
    ml = res.update(REML=False)
    assert not ml.reml and ml.npar == res.npar
    assert not ml.update(". ~ . + I(Days^2)").reml
    half = res.update(data=sleep.iloc[:90])
    assert half.nobs == 90
    weighted = res.update(weights=np.full(180, 2.0))
    close(weighted.sigma, res.sigma * np.sqrt(2), 1e-4)
    assert weighted.update(". ~ 1 + (1 | Subject)").model.design.weights is not None
    with pytest.raises(OptionError, match="Did you mean 'weights'"):
        res.update(weigths=None)


def test_update_needs_the_data(sleep):
    X = np.ones((180, 1))
    res = lme.LMM(sleep["Reaction"], X, groups=sleep["Subject"]).fit()
    with pytest.raises(DataError, match="does not hold the data"):
        res.update(REML=False)
    refitted = lme.lmer(SLEEP, sleep).fit().refit(sleep["Reaction"] * 2)
    with pytest.raises(DataError, match="does not hold the data"):
        refitted.update(". ~ 1 + (1 | Subject)")


def test_refit(sleep):
    res = lme.lmer(SLEEP, sleep).fit()
    double = res.refit(2 * sleep["Reaction"])
    close(double.params, 2 * res.params, 1e-6)
    close(double.theta, res.theta, 1e-4, 1e-5)
    close(double.model.endog, 2 * sleep["Reaction"])
    close(res.model.endog, sleep["Reaction"])
    assert double.reml
    for wrong, message in (
        (np.ones(3), r"shape \(3,\)"),
        (np.full(180, np.nan), "180 missing or infinite"),
        (["a"] * 180, "not numeric"),
    ):
        with pytest.raises(LMEError, match=message):
            res.refit(wrong)
