"""E.2, formulas and designs: scenarios 26 to 38."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.tests.cases import data


def _objectives(*formulas, frame):
    return [lme.lmer(formula, frame).fit().objective for formula in formulas]


def test_26_three_spellings_of_nesting():
    frame = data("Pastes")
    frame["made"] = frame["batch"].astype(str) + "." + frame["cask"].astype(str)
    found = _objectives(
        "strength ~ 1 + (1 | batch/cask)",
        "strength ~ 1 + (1 | batch:cask) + (1 | batch)",
        "strength ~ 1 + (1 | made) + (1 | batch)",
        "strength ~ 1 + (1 | sample) + (1 | batch)",
        frame=frame,
    )
    np.testing.assert_allclose(found, found[0], atol=1e-9)


def test_27_numeric_groups_and_many_levels():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": rng.integers(0, 9, 200), "y": rng.normal(size=200)})
    number, factor = _objectives(
        "y ~ 1 + (1 | g)", "y ~ 1 + (1 | factor(g))", frame=frame
    )
    assert number == pytest.approx(factor, abs=1e-10)
    n = 10_000
    wide = pd.DataFrame(
        {"f1": pd.Categorical(np.arange(n)), "f2": pd.Categorical(np.arange(n)[::-1])}
    )
    wide["y"] = rng.normal(size=n)
    design = lme.build_design("y ~ 1 + (1 | f1/f2)", wide)
    assert design.Zt.shape == (2 * n, n)
    small = pd.DataFrame(
        {
            "a": pd.Categorical(["z", "a", "z", "a"], categories=["z", "a"]),
            "b": pd.Categorical(["q", "q", "p", "p"], categories=["q", "p"]),
            "y": [1.0, 2.0, 3.0, 5.0],
        }
    )
    levels = lme.build_design("y ~ 1 + (1 | a:b)", small).flist["a:b"].levels
    # R's droplevels(a:b): by codes, the first factor slowest.
    assert list(levels) == ["z:q", "z:p", "a:q", "a:p"]


def test_28_parentheses_bars_and_missing_columns():
    frame = data("sleepstudy")
    with pytest.raises(lme.FormulaError, match="parenthes"):
        lme.lmer("Reaction ~ Days | Subject + Days", frame)
    with pytest.raises(lme.FormulaError, match="No random effects terms"):
        lme.lmer("Reaction ~ Days", frame)
    with pytest.raises(lme.LMEError) as caught:
        lme.lmer("Reaction ~ aa + bb + (1 | cc)", frame)
    assert all(name in str(caught.value) for name in ("'aa'", "'bb'", "'cc'"))


def test_29_a_variable_in_both_parts():
    frame = data("Machines")
    both = lme.lmer(
        "score ~ Machine + (1 | Machine) + (1 | Worker)",
        frame,
        contrasts={"Machine": "contr.sum"},
    )
    assert both.exog_names == ["(Intercept)", "Machine1", "Machine2"]
    # (x | x) is allowed as in lme4, where a grouping variable is a factor.
    design = lme.build_design("Reaction ~ 1 + (Days | Days)", data("sleepstudy"))
    assert design.cnms[0].columns[:2] == ("(Intercept)", "Days1")


def test_30_indicators_and_contrasts():
    frame = data("Machines")
    full = lme.build_design("score ~ 1 + (0 + Machine | Worker)", frame)
    assert full.cnms[0].columns == ("MachineA", "MachineB", "MachineC")
    coded = lme.build_design("score ~ 1 + (1 + Machine | Worker)", frame)
    assert coded.cnms[0].columns == ("(Intercept)", "MachineB", "MachineC")


def test_31_two_terms_on_one_factor_stay_two():
    sleep = data("sleepstudy")
    res = lme.lmer(
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", sleep
    ).fit()
    assert list(res.VarCorr()) == ["Subject", "Subject.1"]
    assert list(res.ranef()) == ["Subject"]
    one = lme.lmer("Reaction ~ Days + diag(Days | Subject)", sleep).fit()
    assert one.objective == pytest.approx(res.objective, abs=1e-9)


def test_32_a_term_of_a_double_bar_can_be_taken_away():
    sleep = data("sleepstudy")
    res = lme.lmer("Reaction ~ Days + (Days || Subject)", sleep).fit()
    smaller = res.update(". ~ . - (0 + Days | Subject)")
    want = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    assert smaller.objective == pytest.approx(want.objective, abs=1e-9)


def test_33_the_stored_formula_is_expanded():
    model = lme.lmer("Reaction ~ Days + (Days || Subject)", data("sleepstudy"))
    assert "(1 | Subject) + (0 + Days | Subject)" in model.formula or (
        "(1 | Subject) + (0 + Days | Subject)" in model.design.expanded
    )


@pytest.mark.parametrize(
    "response, change",
    [("log(Reaction)", np.log), ("Reaction - 150", lambda y: y - 150)],
)
def test_34_transformed_responses(response, change):
    sleep = data("sleepstudy")
    res = lme.lmer(f"{response} ~ Days + (1 | Subject)", sleep).fit()
    made = sleep.assign(z=change(sleep["Reaction"]))
    want = lme.lmer("z ~ Days + (1 | Subject)", made).fit()
    assert res.objective == pytest.approx(want.objective, abs=1e-9)
    # On the transformed scale, as R.
    np.testing.assert_allclose(res.predict(sleep), want.fittedvalues, rtol=1e-9)


def test_34_two_columns():
    cbpp = data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    res = lme.glmer(formula, cbpp, family="binomial").fit()
    assert res.objective == pytest.approx(184.0527, abs=1e-3)


def test_35_names_with_spaces_and_long_names():
    sleep = data("sleepstudy").rename(columns={"Days": "a b"})
    res = lme.lmer("Reaction ~ `a b` + (`a b` | Subject)", sleep).fit()
    assert res.params.iloc[1] == pytest.approx(10.46729, abs=1e-4)
    np.testing.assert_allclose(res.predict(sleep.head(3)), res.fittedvalues[:3])
    name = "x" * 200
    long = data("sleepstudy").rename(columns={"Days": name})
    a = lme.lmer("Reaction ~ 1 + (1 | Subject)", long).fit(reml=False)
    b = lme.lmer(f"Reaction ~ {name} + (1 | Subject)", long).fit(reml=False)
    assert "x" * 20 in str(lme.anova(a, b))


def test_36_dots_and_formulas_from_anywhere():
    sleep = data("sleepstudy")
    dot = lme.lmer("Reaction ~ . - Subject + (1 | Subject)", sleep).fit()
    plain = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    assert dot.objective == pytest.approx(plain.objective, abs=1e-10)
    np.testing.assert_allclose(dot.predict(sleep.head(2)), plain.fittedvalues[:2])

    def inner(text):
        return [lme.lmer(t, sleep).fit().objective for t in (text, text.strip())]

    assert len(set(np.round(inner(" Reaction ~ Days + (1 | Subject) "), 8))) == 1


def test_37_functions_in_random_terms():
    frame = data("Machines")
    res = lme.lmer('score ~ 1 + (0 + dummy(Machine, "B") | Worker)', frame).fit()
    assert res.theta.size == 1
    sleep = data("sleepstudy")
    for term in ("poly(Days, 2) | Subject", "ns(Days, df = 2) | Subject"):
        curve = lme.lmer(f"Reaction ~ Days + ({term})", sleep)
        fitted = curve.fit()
        again = fitted.predict(sleep.iloc[[7]])
        assert again.iloc[0] == pytest.approx(np.asarray(fitted.fittedvalues)[7])


def test_38_a_wide_sparse_factor_is_exact():
    # There is one form of X, dense; a factor with many levels gives the same fit as
    # its indicator columns.
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"f": rng.integers(0, 60, 900).astype(str), "g": rng.integers(0, 30, 900)}
    )
    frame["y"] = rng.normal(size=900) + rng.normal(size=30)[frame["g"]]
    res = lme.lmer("y ~ 0 + f + (1 | g)", frame).fit()
    X = pd.get_dummies(frame["f"]).astype(float)
    same = lme.LMM(frame["y"], X, groups=frame["g"]).fit()
    assert res.objective == pytest.approx(same.objective, abs=1e-8)
