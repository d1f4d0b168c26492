"""Marginal means, contrasts and trends against R's emmeans."""

import gzip
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.tests.cases import CASES, REFERENCE
from lme.tests.glmm_cases import GLMM_CASES

STORED = json.loads(
    gzip.decompress((REFERENCE / "emmeans/emmeans.json.gz").read_bytes())
)
QUESTIONS = STORED["cases"]
MEANS = ("at", "weights", "ddf", "type", "offset")


@pytest.fixture(scope="module")
def frames():
    frame = pd.DataFrame(STORED["data"])
    levels = {"a": list("pqr"), "b": list("uv"), "dose": ["low", "mid", "high"]}
    for name, own in levels.items():
        ordered = name == "dose"
        frame[name] = pd.Categorical(frame[name], own, ordered=ordered)
    empty = frame[~((frame.a == "r") & (frame.b == "v"))]
    return {"d": frame, "empty": empty}


@pytest.fixture(scope="module")
def fits(frames):
    """Fits by the key of a question, made when first asked for."""
    made = {}

    def fitted(question):
        key = question.get("case") or question["model"]
        if key not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", lme.LMEWarning)
                made[key] = _fit(question, frames)
        return made[key]

    return fitted


def _fit(question, frames):
    name = question.get("case")
    if name in CASES:
        return CASES[name].fit()
    if name is not None:
        return GLMM_CASES[name].fit()
    model = STORED["models"][question["model"]]
    formula, frame = model["formula"], frames[model["frame"]]
    if "family" in model:
        return lme.glmer(
            formula, frame, family=model["family"], link=model.get("link")
        ).fit()
    return lme.lmer(formula, frame, weights=model.get("weights")).fit()


def asked(res, question):
    """The answer of the package."""
    ask = question["ask"]
    options = {name: ask[name] for name in MEANS if name in ask}
    specs = ask["specs"] if ask["specs"] != "~ 1" else []
    if "trend" in ask:
        found = res.emtrends(specs, ask["trend"], **options)
    else:
        found = res.emmeans(specs, **options)
    if ask.get("regrid"):
        found = found.regrid()
    if "contrast" in ask:
        own = {k: ask[k] for k in ("adjust", "ref", "reverse") if k in ask}
        found = found.contrast(ask["contrast"], **own)
    return found


def numbers(values):
    values = [np.nan if v in (None, "NA") else v for v in values]
    return np.array([np.inf if v == "Inf" else v for v in values], dtype=float)


def name_of(question):
    ask = dict(question["ask"])
    model = question.get("case") or question["model"]
    return f"{model} " + " ".join(f"{key}={value}" for key, value in ask.items())


@pytest.mark.parametrize("question", QUESTIONS, ids=name_of)
def test_equal_to_emmeans(fits, question):
    res = fits(question)
    found = asked(res, question)
    frame = found.to_frame()
    glmm = not isinstance(res._results, lme.LMMResults)
    # lme4's Laplace fits stop short of the optimum, and its standard errors come from
    # finite differences of fixed steps: up to 3e-3 off. Its linear fits are good to
    # 1e-5, which Tukey's tail multiplies.
    loose = 5e-3 if glmm else 1e-5
    size = np.nanmax(numbers(question["se"])) if len(question["se"]) else 1.0
    assert_allclose(
        frame["estimate"], numbers(question["estimate"]), rtol=loose, atol=loose * size
    )
    assert_allclose(frame["se"], numbers(question["se"]), rtol=loose)
    if not glmm:
        known = ~np.isnan(numbers(question["estimate"]))
        df = numbers(question["df"])
        assert_allclose(frame["df"][known], df[known], rtol=1e-4)
    for column in ("lower", "upper"):
        if column in question:
            expected = numbers(question[column])
            assert_allclose(frame[column], expected, rtol=loose, atol=5 * loose * size)
    if "t" in question:
        assert_allclose(
            frame[found.statistic], numbers(question["t"]), rtol=loose, atol=3 * loose
        )
        p = numbers(question["p"])
        assert_allclose(frame["p"], p, rtol=0.05 if glmm else 5e-4, atol=1e-6)
    if "labels" in question:
        assert list(frame["contrast"]) == question["labels"]
