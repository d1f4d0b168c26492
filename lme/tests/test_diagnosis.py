"""The report on assumptions: nothing to see in true models, and each fault seen."""

import gzip
import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose as close
from scipy import stats

import lme
from lme.inference.diagnostics.assumptions import VERDICTS, normal_correlation, ranks
from lme.tests.cases import CASES, REFERENCE
from lme.tests.glmm_cases import GLMM_CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

TEXT = gzip.decompress((REFERENCE / "diagnostics" / "diagnostics.json.gz").read_bytes())
PEARSON = json.loads(TEXT)["dispersion"]


@cache
def linear(seed=1, groups=40, rows=8):
    """Data of a true linear model, and what it was made of."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rows)
    frame = pd.DataFrame({"g": g.astype(str), "x": rng.normal(size=g.size)})
    frame["z"] = rng.normal(size=g.size)
    frame["b"] = rng.normal(size=groups)[g]
    frame["e"] = rng.normal(size=g.size)
    return frame


def report(frame, formula="y ~ x + z + (1 | g)", **options):
    if options:
        return lme.glmer(formula, frame, **options).fit().diagnose().to_frame()
    return lme.lmer(formula, frame).fit().diagnose().to_frame()


# --- faults are seen, one at a time ---------------------------------------------------


def test_a_true_model():
    d = linear()
    found = report(d.assign(y=2 + d.x + d.b + d.e))
    assert found.index.tolist() == [
        *["convergence", "residuals: normal", "residuals: spread"],
        *["residuals: spread by g", "residuals: outlying rows"],
        *["g, (Intercept): normal", "g: outlying levels", "collinearity"],
    ]
    assert (found.verdict == "ok").all() and (found.next == "").all()


FAULTS = {
    "heavy tails": (
        lambda d: d.assign(y=d.x + d.b + stats.t(2.1).ppf(stats.norm.cdf(d.e))),
        "residuals: normal",
        "problem",
    ),
    "spread with the mean": (
        lambda d: d.assign(y=3 * d.x + d.b + np.exp(0.6 * d.x) * d.e),
        "residuals: spread",
        "problem",
    ),
    "spread between groups": (
        lambda d: d.assign(
            y=d.x + d.b + np.where(d.g.astype(int) % 2 == 0, 4.0, 1.0) * d.e
        ),
        "residuals: spread by g",
        "problem",
    ),
    "one row": (
        lambda d: d.assign(y=d.x + d.b + np.where(d.index == 77, 9.0, d.e)),
        "residuals: outlying rows",
        "problem",
    ),
    "skewed effects": (
        lambda d: d.assign(y=d.x + np.exp(1.5 * d.b) + 0.3 * d.e),
        "g, (Intercept): normal",
        "problem",
    ),
    "one group": (
        lambda d: d.assign(y=d.x + np.where(d.g == "7", 9.0, d.b) + d.e),
        "g: outlying levels",
        "problem",
    ),
    "collinear": (
        lambda d: d.assign(z=d.x + 0.01 * d.z, y=d.x + d.b + d.e),
        "collinearity",
        "problem",
    ),
    "somewhat collinear": (
        lambda d: d.assign(z=d.x + 0.1 * d.z, y=d.x + d.b + d.e),
        "collinearity",
        "look",
    ),
    "no variance between groups": (
        lambda d: d.assign(y=d.x + d.e - d.groupby("g")["e"].transform("mean")),
        "convergence",
        "look",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_linear_model(name):
    change, line, verdict = FAULTS[name]
    found = report(change(linear()))
    assert found.verdict[line] == verdict
    assert found.next[line]
    if name == "one row":
        assert "row 77" in found.finding[line]
    if name == "one group":
        assert "(7, p" in found.finding[line]
    if "collinear" in name:
        assert "x and z" in found.next[line] or "z and x" in found.next[line]


@cache
def counts(zero=0.0, extra=None):
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(40), 10)
    frame = pd.DataFrame({"g": g.astype(str), "x": rng.normal(size=400)})
    mu = np.exp(1.0 + 0.3 * frame.x + 0.5 * rng.normal(size=40)[g])
    if extra is None:
        y = rng.poisson(mu)
    else:
        y = rng.negative_binomial(extra, extra / (extra + mu))
    frame["y"] = np.where(rng.random(400) < zero, 0, y)
    return frame


def test_a_true_count_model():
    found = report(counts(), "y ~ x + (1 | g)", family="poisson")
    assert (found.verdict == "ok").all()
    assert {"dispersion", "zeros", "residuals: distribution"} <= set(found.index)
    assert found.value["dispersion"] == pytest.approx(0.95, abs=0.15)


def test_overdispersion_and_its_remedies():
    frame = counts(extra=1.5)
    found = report(frame, "y ~ x + (1 | g)", family="poisson")
    assert found.verdict["dispersion"] == "problem"
    assert "negative binomial" in found.next["dispersion"]
    assert found.verdict["zeros"] != "ok"
    better = report(frame, "y ~ x + (1 | g)", family="negative_binomial")
    assert (
        better.verdict[["dispersion", "zeros", "residuals: distribution"]] == "ok"
    ).all()
    # A random effect for each row takes the dispersion up: not judged then.
    rows = frame.assign(row=np.arange(400).astype(str))
    observed = report(rows, "y ~ x + (1 | g) + (1 | row)", family="poisson")
    assert "dispersion" not in observed.index
    assert not any(name.startswith("row") for name in observed.index)
    assert abs(observed.value["zeros"] - 1) < 0.25


def test_too_many_zeros():
    found = report(counts(zero=0.3), "y ~ x + (1 | g)", family="poisson")
    assert found.verdict["zeros"] == "problem"
    assert "more zeros" in found.next["zeros"]
    none = counts()
    none = none[none.y > 0]
    assert "left out" in report(none, "y ~ x + (1 | g)", family="poisson").next["zeros"]


def test_less_spread_than_the_family_has():
    """Binomial counts of twelve trials have 0.3 of the variance of a Poisson."""
    rng = np.random.default_rng(2)
    frame = linear().assign(y=rng.binomial(12, 0.7, 320))
    found = report(frame, "y ~ x + (1 | g)", family="poisson").loc["dispersion"]
    assert found.value == pytest.approx(0.3, abs=0.05)
    assert found.verdict == "look" and "dependent counts" in found.next


def test_zeros_are_judged_where_there_could_be_some():
    rng = np.random.default_rng(2)
    frame = linear().assign(y=rng.poisson(60, 320))
    found = report(frame, "y ~ x + (1 | g)", family="poisson")
    assert "zeros" not in found.index and found.verdict["dispersion"] == "ok"


def test_groups_of_two_rows_have_no_spread():
    few = linear().groupby("g").head(2)
    found = report(few.assign(y=few.x + few.b + few.e))
    assert not any("spread by" in name for name in found.index)


def test_condition_number_without_a_constant():
    """Predictors are centred only where the model has a constant."""
    frame = linear().assign(x=lambda d: d.x + 5, z=lambda d: d.z + 5)
    frame = frame.assign(y=frame.x + frame.b + frame.e)
    X = frame[["x", "z"]].to_numpy()
    for formula, shift, words in (
        ("y ~ 0 + x + z + (1 | g)", 0.0, "of the scaled"),
        ("y ~ x + z + (1 | g)", X.mean(axis=0), "of the centred and scaled"),
    ):
        found = report(frame, formula).loc["collinearity"]
        expected = (X - shift) / np.linalg.norm(X - shift, axis=0)
        close(found.value, np.linalg.cond(expected), 1e-8)
        assert words in found.finding


@pytest.mark.parametrize("name", sorted(PEARSON))
def test_pearson_is_lme4s(name):
    square, df = PEARSON[name]
    res = GLMM_CASES[name].fit()
    close((res.residuals(type="pearson") ** 2).sum(), square, 1e-3)
    found = res.diagnose().to_frame()
    if np.isin(res.fit_record.design.y, (0.0, 1.0)).all():
        # 0/1 responses have the variance of their mean whatever happens.
        assert "dispersion" not in found.index and "zeros" not in found.index
    else:
        close(found.value["dispersion"], square / df, 1e-3)
        assert f"on {df} degrees" in found.finding["dispersion"]


# --- the report -----------------------------------------------------------------------


def test_sleepstudy_in_words():
    report = CASES["sleep_full"].fit().diagnose()
    text = str(report)
    assert text.splitlines()[0] == "Diagnosis of Reaction ~ Days + (Days | Subject)"
    assert text.splitlines()[1] == "180 rows; 18 Subject"
    assert "QQ correlation 0.943" in text and "-> res.plot_qq()" in text
    assert text.splitlines()[-1] == "6 ok, 1 look, 1 problem"
    assert max(map(len, text.splitlines())) <= 88
    assert report.verdict == "problem" and len(report) == 8
    assert repr(report) == text
    assert report._repr_html_().count("<tr>") == 9
    frame = report.to_frame()
    assert list(frame) == ["statistic", "value", "verdict", "finding", "next"]
    assert set(frame.verdict) <= set(VERDICTS)
    assert [c.name for c in report] == frame.index.tolist()


def test_few_levels_have_no_power():
    found = CASES["dyestuff"].fit().diagnose().to_frame()
    assert (
        "With 6 levels a test has no power"
        in found.finding["Batch, (Intercept): normal"]
    )
    frame = lme.datasets.load("sleepstudy")
    few = frame[frame.Subject.isin(["308", "309", "310"])]
    found = lme.lmer("Reaction ~ Days + (1 | Subject)", few).fit().diagnose().to_frame()
    assert found.verdict["Subject: levels"] == "look"
    assert "hardly determined" in found.finding["Subject: levels"]
    tiny = few.groupby("Subject", observed=True).head(4)
    found = (
        lme.lmer("Reaction ~ Days + (1 | Subject)", tiny).fit().diagnose().to_frame()
    )
    assert "With 12 rows a test has no power" in found.finding["residuals: normal"]


def test_models_of_every_shape():
    """Crossed and nested, vector-valued, weighted, singular, without a fixed part."""
    for name in ("penicillin", "pastes", "machines_slope", "weights", "dyestuff2"):
        assert len(CASES[name].fit().diagnose()) > 3
    frame = lme.datasets.load("sleepstudy")
    none = lme.lmer("Reaction ~ 0 + (1 | Subject)", frame).fit().diagnose()
    assert "collinearity" not in none.to_frame().index
    double = lme.lmer("Reaction ~ Days + (Days || Subject)", frame).fit().diagnose()
    names = double.to_frame().index
    assert "Subject, Days: outlying levels" in names and names.is_unique
    for name in ("sim_gamma_log", "verbagg", "contraception_slope"):
        assert len(GLMM_CASES[name].fit().diagnose()) > 5


def test_the_seed_is_fixed():
    res = GLMM_CASES["cbpp"].fit()
    assert str(res.diagnose()) == str(res.diagnose())
    assert str(res.diagnose(seed=1)) != str(res.diagnose(seed=2))


def test_separation_is_said():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 10), "x": rng.normal(size=60)})
    frame["y"] = (frame.x > 0).astype(float)
    found = lme.glmer("y ~ x + (1 | g)", frame, family="binomial").fit().diagnose()
    line = found.to_frame().loc["convergence"]
    assert line.verdict == "problem" and "separation" in line.finding


# --- measures -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 30, 100, 300, 2000])
def test_five_percent_of_normal_samples_are_below(n):
    rng = np.random.default_rng(n)
    found = [normal_correlation(rng.standard_normal(n)) for _ in range(1000)]
    share = np.mean([r < least for r, least in found])
    assert 0.03 < share < 0.08


def test_measures():
    x = np.array([3.0, 1.0, 2.0, 2.0])
    close(ranks(x), stats.rankdata(x) - 1)
    osm, osr = stats.probplot(np.arange(30.0), fit=False)
    r, _ = normal_correlation(np.arange(30.0))
    close(r, np.corrcoef(osm, osr)[0, 1], 2e-3)


def test_spread_between_groups_is_brown_and_forsythes():
    d = linear().iloc[:-3]  # the last group has fewer rows
    res = lme.lmer("y ~ x + (1 | g)", d.assign(y=d.x + d.b + d.e)).fit()
    scores = res.residuals(standardize="leverage")
    groups = [part.to_numpy() for _, part in scores.groupby(d.g)]
    expected = stats.levene(*groups, center="median")
    found = res.diagnose().to_frame().value["residuals: spread by g"]
    close(found, expected.statistic, 1e-9)
