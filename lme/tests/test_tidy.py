"""Frames as broom.mixed makes them, and tables in every format."""

import builtins
import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import FitError, OptionError
from lme.inference.text import markdown_table, p_value
from lme.report.grid import Grid
from lme.report.side_by_side import compare_table
from lme.tests.cases import REFERENCE, data

BROOM = json.loads((REFERENCE / "broom" / "frames.json").read_text())
SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def res():
    return lme.lmer(SLEEP, data("sleepstudy")).fit()


@pytest.fixture(scope="module")
def glmm():
    frame = lme.datasets.load("Contraception")
    formula = "use ~ age + I(age^2) + urban + ch + (1 | district)"
    return lme.glmer(formula, frame, family="binomial").fit()


def same(frame, expected, rtol, atol=0.0):
    """All columns that R's frame has, row by row."""
    for name, column in expected.items():
        found = frame[name].tolist()
        if any(isinstance(value, (int, float)) for value in column):
            wanted = [np.nan if value is None else value for value in column]
            assert_allclose(found, wanted, rtol=rtol, atol=atol, err_msg=name)
        else:
            assert [None if v is None else str(v) for v in found] == column, name


# --- tidy ---------------------------------------------------------------------------

# lme4 stops its search when theta moves by less than 1e-6.


def test_tidy_as_broom(res):
    broom = BROOM["sleep_full"]
    same(res.tidy(ddf="z"), broom["default"], 1e-5)
    same(res.tidy("fixed", conf_int=True, ddf="z"), broom["fixed_ci"], 1e-5)
    same(res.tidy("ran_pars", scales="vcov"), broom["ran_pars"], 1e-5)
    same(res.tidy("ran_vals").head(6), broom["ran_vals"], 1e-5)
    # The order of columns too.
    names = [name for name in res.tidy(ddf="z") if name in broom["default"]]
    assert names == list(broom["default"])


def test_tidy_of_a_generalized_model(glmm):
    broom = BROOM["contraception_ch"]
    # lme4's standard errors come from a Hessian by finite differences.
    same(glmm.tidy(), broom["default"], 1e-3, 1e-4)
    odds = glmm.tidy("fixed", exponentiate=True, conf_int=True)
    same(odds, broom["exponentiate"], 1e-3, 1e-4)
    assert "df" not in glmm.tidy()


def test_tidy_has_degrees_of_freedom(res):
    frame = res.tidy("fixed", conf_int=True)
    assert_allclose(frame["df"], 17.0, rtol=1e-6)
    assert_allclose(frame["p.value"], res.pvalues)
    assert_allclose(frame[["conf.low", "conf.high"]], res.conf_int())
    wide = res.tidy("fixed", conf_int=True, conf_level=0.99)
    assert_allclose(wide["conf.low"], res.conf_int(alpha=0.01)[0])


def test_all_effects_in_one_frame(res):
    every = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
    frame = res.tidy(every, conf_int=True)
    assert list(frame) == [
        *["effect", "group", "level", "term", "estimate", "std.error"],
        *["statistic", "df", "p.value", "conf.low", "conf.high"],
    ]
    assert frame["effect"].value_counts().to_dict() == {
        "fixed": 2,
        "ran_pars": 4,
        "ran_vals": 36,
        "ran_coefs": 36,
    }
    # Whatever the order asked for, that of the table is one.
    pd.testing.assert_frame_equal(frame, res.tidy(every[::-1], conf_int=True))
    coefs = frame[frame["effect"] == "ran_coefs"]
    expected = res.coef()["Subject"]
    assert_allclose(coefs["estimate"].to_numpy().reshape(2, 18).T, expected)
    modes = frame[frame["effect"] == "ran_vals"]
    middle = (modes["conf.low"] + modes["conf.high"]) / 2
    assert_allclose(middle, modes["estimate"])
    sd = res.ranef().to_frame()["condsd"]
    assert_allclose(modes["conf.high"] - modes["estimate"], 1.959963985 * sd)
    assert frame["level"].isna().sum() == 6


def test_tidy_without_fixed_effects_or_effects():
    centred = data("sleepstudy").assign(
        y=lambda d: d["Reaction"] - d["Reaction"].mean()
    )
    none = lme.lmer("y ~ 0 + (1 | Subject)", centred).fit()
    assert none.tidy()["effect"].tolist() == ["ran_pars", "ran_pars"]
    assert none.tidy("fixed").empty and none.tidy([]).empty


def test_tidy_of_terms_of_one_factor():
    both = lme.lmer("Reaction ~ Days + (Days || Subject)", data("sleepstudy")).fit()
    frame = both.tidy("ran_pars")
    assert frame["term"].tolist() == [
        "sd__(Intercept)",
        "sd__Days",
        "sd__Observation",
    ]
    assert frame["group"].tolist() == ["Subject", "Subject.1", "Residual"]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"effects": "random"}, "effects='random'"),
        ({"effects": ["fixed", 3]}, "effects=3"),
        ({"scales": "var"}, "scales='var'"),
        ({"conf_level": 95}, "level=95"),
        ({"conf_level": "a"}, "level='a'"),
        ({"ddf": "nope"}, "ddf='nope'"),
    ],
)
def test_tidy_refuses(res, options, expected):
    with pytest.raises(OptionError, match=expected):
        res.tidy(**options)


# --- glance and augment -------------------------------------------------------------


def test_glance(res, glmm):
    same(res.glance(), BROOM["sleep_full"]["glance"], 1e-7)
    same(glmm.glance(), BROOM["contraception_ch"]["glance"], 1e-6)
    ml = lme.lmer(SLEEP, data("sleepstudy"), REML=False).fit().glance()
    assert_allclose(ml["deviance"], -2 * ml["logLik"])
    assert "REMLcrit" not in ml and len(ml) == 1
    assert res.glance()["converged"].all() and not res.glance()["singular"].any()
    light = res.without_data()
    pd.testing.assert_frame_equal(light.glance(), res.glance())


def test_augment_as_broom(res):
    frame = res.augment()
    same(frame.head(6), BROOM["sleep_full"]["augment6"], 1e-5, 1e-6)
    assert list(frame)[:3] == ["Reaction", "Days", "Subject"]
    assert_allclose(frame[".hat"].sum(), 29.0221, rtol=1e-5)  # lme4's trace


def test_augment_keeps_to_the_rows_used():
    sleep = data("sleepstudy").assign(w=lambda d: 1 + d["Days"], other="x")
    sleep.index = [f"row{i}" for i in range(180)]
    sleep.loc["row3", "Reaction"] = np.nan
    fit = lme.lmer(
        "Reaction ~ Days + (1 | Subject)", sleep, weights="w", subset="Days < 9"
    ).fit()
    frame = fit.augment()
    assert len(frame) == fit.nobs == 161
    assert "row3" not in frame.index and "row9" not in frame.index
    assert (frame["Days"] < 9).all() and (frame["other"] == "x").all()
    assert_allclose(frame[".fitted"], fit.fittedvalues)
    assert_allclose(frame[".weights"], sleep.loc[frame.index, "w"])
    assert_allclose(frame[".wtres"], np.sqrt(frame[".weights"]) * frame[".resid"])
    assert_allclose(frame[".resid"], frame["Reaction"] - frame[".mu"])


def test_augment_of_a_generalized_model():
    cbpp = lme.datasets.load("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    frame = lme.glmer(formula, cbpp, family="binomial").fit().augment().head(3)
    # R: lme4's resp module, predict and residuals of the same fit, which ends where
    # Nelder and Mead's simplex is small.
    assert_allclose(frame[".fitted"], [-0.8087134, -1.8006384, -1.9369296], rtol=1e-3)
    assert_allclose(frame[".mu"], [0.3081647, 0.1417734, 0.1259856], rtol=1e-3)
    assert_allclose(frame[".resid"], [-1.437708, 0.988472, 2.356688], rtol=1e-3)
    assert_allclose(frame[".sqrtXwt"], [1.7276542, 1.2083394, 0.9954992], rtol=1e-3)
    assert_allclose(frame[".sqrtrwt"], [8.103473, 9.930984, 9.040690], rtol=1e-3)
    assert_allclose(frame[".wtres"], [-1.339566, 1.074797, 2.879088], rtol=1e-3)
    assert frame[".weights"].tolist() == [14, 12, 9]


def test_augment_new_rows(res, glmm):
    new = data("sleepstudy").head(2).drop(columns="Reaction")
    frame = res.augment(new)
    assert list(frame) == ["Days", "Subject", ".fitted"] and ".fitted" not in new
    assert_allclose(frame[".fitted"], res.fittedvalues.head(2))
    some = glmm.augment(lme.datasets.load("Contraception").head(2), re_form="none")
    assert_allclose(some[".mu"], 1 / (1 + np.exp(-some[".fitted"])))
    with pytest.raises(OptionError, match="type int"):
        res.augment(5)
    with pytest.raises(FitError, match="remove_data"):
        res.without_data().augment()
    with pytest.raises(FitError, match="remove_data"):
        res.without_data().tidy("ran_vals")


@pytest.mark.parametrize("kind", ["polars", "dict", "arrays"])
def test_augment_of_other_containers(res, kind):
    sleep = data("sleepstudy")
    if kind == "arrays":
        X = np.column_stack([np.ones(180), sleep["Days"]])
        model = lme.LMM(sleep["Reaction"], X, groups=sleep["Subject"], exog_re=X)
    elif kind == "dict":
        model = lme.lmer(SLEEP, sleep.to_dict("list"))
    else:
        polars = pytest.importorskip("polars")
        pytest.importorskip("pyarrow")
        frame = polars.DataFrame({name: sleep[name].tolist() for name in sleep})
        model = lme.lmer(SLEEP, frame)
    frame = model.fit().augment()
    assert_allclose(frame["Reaction"], sleep["Reaction"])
    assert frame["Subject"].astype(str).tolist() == sleep["Subject"].tolist()
    assert_allclose(frame[".fitted"], res.fittedvalues, rtol=1e-6)


def test_cooks_distances_without_coefficients():
    """They are distances between coefficients; leverages remain, of the modes."""
    frame = data("sleepstudy").assign(Reaction=lambda d: d["Reaction"] - 300.0)
    rows = lme.lmer("Reaction ~ 0 + (1 | Subject)", frame).fit().augment()
    assert rows[".cooksd"].isna().all()
    assert (rows[".hat"] > 0.0).all() and (rows[".hat"] < 1.0).all()


# --- tables -------------------------------------------------------------------------


def test_compact_as_mixedmodels():
    """S0 0.5 and 0.6: numbers of MixedModels.jl."""
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff"), REML=False).fit()
    grid = res.compact()
    assert grid.header[:3] == ("", "Est.", "SE") and grid.header[-1] == "σ_Batch"
    assert grid.rows[0][:4] == ("(Intercept)", "1527.5000", "17.6946", "86.33")
    assert grid.rows[0][-1] == "37.2603"
    assert grid.rows[1] == ("Residual", "49.5101", "", "", "", "")
    assert grid.as_text() == repr(res) == str(grid)
    assert res._repr_html_() == grid.as_html()
    assert res._repr_markdown_() == res.to_markdown() == grid.as_markdown()


def test_markdown(res):
    lines = res.to_markdown().splitlines()
    assert lines[0] == f"Linear mixed model fit by REML: {SLEEP}  "
    assert lines[4].replace(" ", "") == "||Est.|SE|t|p|σ_Subject|"
    assert (
        lines[5] == "|:------------|---------:|-------:|------:|-------:|----------:|"
    )
    assert lines[7].startswith("| Days        |  10.4673 | 1.5458 |  6.77 | <1e-05 |")
    text = res.VarCorr().to_markdown()
    assert text.splitlines()[0].split("|")[1:-1] == [
        " Groups   ",
        " Name        ",
        " Variance ",
        " Std.Dev. ",
        "  Corr ",
    ]


def test_markdown_escapes():
    text = markdown_table([["a|b*c", "<b>x</b> <1e-9"]], ["`x`", "y"], left=[0])
    assert text.splitlines()[2] == r"| a\|b\*c | \<b>x\</b> <1e-9 |"
    assert text.splitlines()[0].startswith(r"| \`x\`")
    assert len({len(line) for line in text.splitlines()}) == 1


def test_varcorr_components(res):
    both = res.VarCorr()
    assert "Variance" not in both.to_text(comp="Std.Dev.")
    swapped = both.to_text(comp=["Std.Dev.", "Variance"]).splitlines()[0]
    assert swapped.split() == ["Groups", "Name", "Std.Dev.", "Variance", "Corr"]
    assert both.to_text() == repr(both)
    assert "24.74045" in both.to_text(digits=6)
    only = both.printed(comp=[])
    assert only[0] == ["Groups", "Name", "Corr"] and only[1][1] == ["", "Days", "0.066"]
    with pytest.raises(OptionError, match=r"comp has 'Variances'.*'Variance'"):
        both.to_text(comp=["Variances"])
    order = both.to_frame("lower.tri")["var2"].notna().tolist()
    assert order == [False, True, False, False]


@pytest.mark.parametrize(
    "p, bound, r, fixed",
    [
        (0.80042, "0.8004", "0.8004", "0.8004"),
        (0.00012, "0.0001", "0.00012", "0.0001"),
        (1.3e-11, "<1e-10", "1.3e-11", "0.0000"),
        (1e-20, "<1e-20", "<2e-16", "0.0000"),
        (0.0, "<1e-99", "<2e-16", "0.0000"),
        (np.nan, "", "", ""),
    ],
)
def test_p_values(p, bound, r, fixed):
    """MixedModels.jl's, R's and statsmodels' ways."""
    assert [p_value(p, style) for style in ("bound", "r", "fixed")] == [bound, r, fixed]


def test_styles_of_p_values(res):
    assert "3.26e-06" in res.compact(p_style="r").as_text()
    assert "0.0000" in res.compact(p_style="fixed").as_text()
    with pytest.raises(OptionError, match=r"style 'R'.*'r'"):
        res.compact(p_style="R")


def test_grid_formats():
    grid = Grid("A_b\nc", ("", "x"), (("f & g", "1,5"), ("<h>", "")), notes=("n",))
    assert grid.as_text().splitlines()[-1] == "n"
    assert r"f \& g & 1,5 \\" in grid.as_latex() and r"A\_b. c" in grid.as_latex()
    assert "&lt;h&gt;" in grid.as_html() and "<p>A_b<br/>c</p>" in grid.as_html()
    assert grid.as_csv().splitlines()[1] == 'f & g,"1,5"'
    assert grid.to_frame().loc["f & g", "x"] == "1,5"
    assert grid.to_markdown() == grid.as_markdown() == grid._repr_markdown_()
    assert Grid("", ("a",), ()).as_text() == "a"


def test_great_tables(res):
    pytest.importorskip("great_tables")
    html = res.to_great_table().as_raw_html()
    assert "251.4051" in html and "REML criterion 1743.6283" in html
    assert html.count("<tr") >= 4


def test_great_tables_of_several_fits(res):
    pytest.importorskip("great_tables")
    grid = compare_table(res, stars=True)
    html = grid.to_great_table().as_raw_html()
    assert "gt_title" not in html.partition("<table")[2]
    assert "Stars: * p &lt; 0.05" in html.replace("p < ", "p &lt; ")
    assert grid._repr_html_() == grid.as_html()
    assert "10.4673***" in grid.as_html()


def test_great_tables_is_optional(res, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "great_tables":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match="pip install"):
        res.to_great_table()
