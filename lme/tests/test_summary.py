"""Golden texts of the summary, and its other formats."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.iolib.summary import Summary

import lme
from lme.report.summary import summarize
from lme.report.tables import escape_csv, escape_latex
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"

GOLDEN = """\
                        Linear mixed model fit by REML
==============================================================================
Formula:  Reaction ~ Days + (Days | Subject)
Method:   REML; blocked kernel, N evaluations
Search:   converged
------------------------------------------------------------------------------
REML criterion     logLik        AIC       AICc        BIC  npar  df resid
     1743.6283  -871.8141  1755.6283  1756.1138  1774.7860     6       174
------------------------------------------------------------------------------
Scaled residuals:
    Min       1Q  Median      3Q     Max
-3.9536  -0.4634  0.0231  0.4634  5.1793
------------------------------------------------------------------------------
Random effects (180 observations; levels: Subject 18):
Groups    Name         Variance  Std.Dev.   Corr
Subject   (Intercept)    612.09    24.740
          Days            35.07     5.922  0.066
Residual                 654.94    25.592
------------------------------------------------------------------------------
Fixed effects, tests by t (Satterthwaite):
                 coef  std err     df       t   P>|t|    [0.025    0.975]
(Intercept)  251.4051   6.8246  17.00  36.838  <1e-16  237.0065  265.8037
Days          10.4673   1.5458  17.00   6.771  <1e-05    7.2060   13.7286
------------------------------------------------------------------------------
Correlation of fixed effects:
      (Intr)
Days  -0.138
=============================================================================="""

GOLDEN_SINGULAR = """\
                 Linear mixed model fit by maximum likelihood
==============================================================================
Formula:  Yield ~ 1 + (1 | Batch)
Method:   ML; blocked kernel, N evaluations
Search:   converged, singular
------------------------------------------------------------------------------
-2 log L    logLik       AIC      AICc       BIC  npar  df resid
162.8730  -81.4365  168.8730  169.7961  173.0766     3        27
------------------------------------------------------------------------------
Scaled residuals:
    Min       1Q   Median      3Q     Max
-1.7950  -0.7940  -0.0823  0.6803  2.1264
------------------------------------------------------------------------------
Random effects (30 observations; levels: Batch 6):
Groups    Name         Variance  Std.Dev.
Batch     (Intercept)      0.00     0.000
Residual                  13.35     3.653
------------------------------------------------------------------------------
Fixed effects, tests by t (Satterthwaite):
               coef  std err     df      t   P>|t|  [0.025  0.975]
(Intercept)  5.6656   0.6670  30.00  8.494  <1e-08  4.3034  7.0278
==============================================================================
Notes:
[1] Converged to a singular fit: the intercept for Batch has no variance. Drop
    it, or keep it knowingly."""

SHORT = """\
Linear mixed model fit by maximum likelihood: Yield ~ 1 + (1 | Batch)
-2 log L 327.3271; 30 observations; levels: Batch 6
Tests by t (Satterthwaite)

                 Est.      SE     t      p σ_Batch
(Intercept) 1527.5000 17.6946 86.33 <1e-09 37.2603
Residual      49.5101"""


def counted(text):
    """The text with the number of evaluations hidden; it may improve."""
    return "\n".join(
        f"{line.rpartition(', ')[0]}, N evaluations"
        if line.startswith("Method:")
        else line
        for line in text.splitlines()
    )


@pytest.fixture(scope="module")
def res():
    return lme.lmer(SLEEP, data("sleepstudy")).fit()


def test_golden(res):
    summary = res.summary()
    assert isinstance(summary, Summary)
    assert counted(summary.as_text()) == GOLDEN
    assert str(summary) == repr(summary) == summary.as_text()


def test_golden_singular():
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff2"), REML=False).fit()
    assert counted(res.summary().as_text()) == GOLDEN_SINGULAR


def test_short_form():
    """S0 0.6: one table with a column of standard deviations for each factor."""
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff"), REML=False).fit()
    assert repr(res) == SHORT
    both = lme.lmer("Reaction ~ 1 + (Days | Subject)", data("sleepstudy")).fit()
    assert [line.split()[0] for line in repr(both).splitlines()[5:]] == [
        "(Intercept)",
        "Days",
        "Residual",
    ]


def test_long_formulas_are_wrapped():
    frame = data("sleepstudy")
    terms = [f"I(Days^{k} / {10**k})" for k in range(2, 9)]
    formula = f"Reaction ~ Days + {' + '.join(terms)} + (1 | Subject)"
    lines = lme.lmer(formula, frame).fit().summary().as_text().splitlines()
    assert max(map(len, lines[2:6])) <= 80
    assert lines[2].startswith("Formula:  Reaction ~ Days")
    assert lines[3].startswith("          ") and "I(Days^8" in lines[3] + lines[4]


def test_options(res):
    text = res.summary(alpha=0.1, correlation=False, digits=6).as_text()
    assert "[0.05     0.95]" in text
    assert "Correlation of fixed" not in text
    assert "35.0717" in text and "5.92213" in text


def test_correlations_up_to_twenty():
    frame = data("sleepstudy")
    rng = np.random.default_rng(2)
    for j in range(21):
        frame[f"x{j}"] = rng.normal(size=180)
    few = "Reaction ~ " + " + ".join(f"x{j}" for j in range(19)) + " + (1 | Subject)"
    many = "Reaction ~ " + " + ".join(f"x{j}" for j in range(20)) + " + (1 | Subject)"
    assert "Correlation of" in lme.lmer(few, frame).fit().summary().as_text()
    big = lme.lmer(many, frame).fit()
    assert "Correlation of" not in big.summary().as_text()
    assert "Correlation of" in big.summary(correlation=True).as_text()


def test_dots_for_structural_zeros():
    frame = data("sleepstudy")
    res = lme.lmer("Reaction ~ Days + zerocorr(Days | Subject)", frame).fit()
    row = next(
        line for line in res.summary().as_text().splitlines() if "    Days" in line
    )
    assert row.split() == ["Days", "35.86", "5.988", "."]


def test_warnings_become_notes():
    frame = data("sleepstudy").assign(Twice=lambda d: 2 * d["Days"])
    with pytest.warns(lme.RankWarning):
        res = lme.lmer("Reaction ~ Days + Twice + (1 | Subject)", frame).fit()
    notes = res.summary().as_text().partition("Notes:\n")[2]
    assert notes.startswith("[1] The fixed-effects matrix is rank deficient: Twice is")
    assert "[2]" not in notes


def test_name_of_the_data():
    frame = data("sleepstudy")
    frame.attrs["name"] = "sleepstudy"
    small = lme.lmer("Reaction ~ 1 + (1 | Subject)", frame).fit()
    large = lme.lmer("Reaction ~ Days + (1 | Subject)", frame).fit()
    assert "Data:     sleepstudy" in small.summary().as_text()
    assert repr(lme.anova(small, large)).startswith("Data: sleepstudy\n")


def test_levels_of_known_covariance_and_held_elements():
    frame = data("sleepstudy")
    names = sorted(frame["Subject"].unique())
    K = pd.DataFrame(0.5 + 0.5 * np.eye(len(names)), index=names, columns=names)
    model = lme.lmer("Reaction ~ 1 + (1 | Subject)", frame, covariances={"Subject": K})
    fit = model.fit(fix={"theta": {"Subject.(Intercept)": 0.5}})
    lines = fit.summary().as_text().splitlines()
    assert "Levels:   known covariance between those of Subject" in lines
    assert "Held:     Subject.(Intercept) = 0.5" in lines
    # Of the record alone the quantiles of the residuals are computed.
    place = lines.index("Scaled residuals:") + 2
    quantiles = np.quantile(fit.resid / fit.scale**0.5, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert lines[place] in summarize(fit.fit_record).as_text().splitlines()
    assert_allclose([float(q) for q in lines[place].split()], quantiles, atol=5.1e-5)


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html(res):
    html = res.summary().as_html()
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    text = "".join(parser.text)
    assert "<1e-16" in text and "P>|t|" in text
    assert html.count("<table") == 6 and html.count("<caption>") == 4
    assert res.summary()._repr_html_() == html
    assert "<th>coef</th>" in html.replace(" ", "")


def test_latex(res):
    latex = res.summary().as_latex()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 6
    assert r"\textless{}1e-16" in latex
    assert "{lrrrrrrr}" in latex
    assert escape_latex("a_b & c%") == r"a\_b \& c\%"


def test_csv(res):
    lines = res.summary().as_csv().splitlines()
    assert "Days,10.4673,1.5458,17.00,6.771,<1e-05,7.2060,13.7286" in lines
    assert escape_csv('say "a, b"') == '"say ""a, b"""'


def test_no_fixed_effects_text():
    frame = data("sleepstudy").assign(
        Reaction=lambda d: d["Reaction"] - d["Reaction"].mean()
    )
    res = lme.lmer("Reaction ~ 0 + (1 | Subject)", frame).fit(reml=False)
    assert "Fixed effects: none" in res.summary().as_text()
    assert repr(res).splitlines()[-1].startswith("Residual")
    assert len(res.params) == 0
