"""Three hundred hard models and the reference models against five other optimizers.

The stored values are the least that L-BFGS-B, BFGS, Nelder-Mead, Powell and COBYLA
found from ten points each (`reference/scripts/make_corpus.py`); they know nothing of
our search and its starts.
"""

import json
import warnings
from functools import cache

import numpy as np
import pytest

from lme.engine.relcov import lower_factor
from lme.errors import ConvergenceWarning
from lme.tests.best_of_five import (
    best_of_five,
    extended_value,
    fresh_criterion,
    optimum,
)
from lme.tests.cases import CASES, NOT_IDENTIFIED, REFERENCE
from lme.tests.corpus import EACH, NAMES, hard_case
from lme.tests.glmm_cases import GLMM_CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

MINIMA = json.loads((REFERENCE / "corpus" / "minima.json").read_text())
ALLOWED = 1e-6
#: One model of each kind, and those that have been wrong before.
WRONG_BEFORE = ["structured_6", "large_counts_4", "groups_all_alike_3"]
WRONG_BEFORE += [name for name in NAMES if name.endswith((f"_{EACH}", f"_{EACH + 1}"))]
QUICK = [n for n in NAMES if n.endswith("_0") and not n.startswith("scattered")]
QUICK = [*QUICK, *WRONG_BEFORE]
REFERENCE_MODELS = [name for name in MINIMA if ":" in name]


@cache
def fitted(name):
    """The case (None for a reference model), its results, and what was warned."""
    kind, _, id_ = name.rpartition(":")
    case = None if kind else hard_case(name)
    source = {"": case, "lmm": CASES.get(id_), "glmm": GLMM_CASES.get(id_)}[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        res = source.fit()
    return case, res, [w.message for w in caught]


def excess(name):
    """How much our end is above the best that is known."""
    _, res, _ = fitted(name)
    stored = MINIMA[name]
    if "extended" in stored:
        # Rounding errors of the criterion are larger than what is compared here.
        record = res.fit_record
        return extended_value(record, optimum(record)) - stored["extended"]
    return res.objective - stored["best"]


def check_verdict(name):
    case, res, caught = fitted(name)
    verdict = res.convergence
    assert verdict.converged, verdict.message
    said = [str(w) for w in caught if isinstance(w, ConvergenceWarning)]
    if case is None:
        assert verdict.unique == (name.partition(":")[2] not in NOT_IDENTIFIED)
    elif case.separated:
        assert any("separation" in text for text in said), said
    else:
        assert verdict.unique == identified(case, res), verdict.message
        assert bool(said) == (not verdict.unique), said
    check_singular(res)


def identified(case, res):
    """Whether the covariance is unique: by construction, or lost at the optimum."""
    if not case.unique:
        return False
    if case.kind != "structured" or not res.convergence.singular:
        return True
    # Of a standard deviation that is zero no correlation is left.
    return res.convergence.unique


def turned(res, change):
    """Values of the criterion with the factor of one term changed after another."""
    record = res.fit_record
    criterion, psi = fresh_criterion(record), optimum(record)
    template = record.problem.template
    first = psi.size - template.size
    if hasattr(record, "family"):
        first = record.problem.p if record.nAGQ else 0
    here = criterion.evaluate(psi, gradient=False).value
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        if not slot.structure.linear or slot.structure.size(p) != p * (p + 1) // 2:
            continue
        theta = psi[first : first + template.size][slot.theta]
        for factor in change(slot.structure.factor(theta, p)):
            other = psi.copy()
            part = slice(first + slot.theta.start, first + slot.theta.stop)
            other[part] = slot.structure.pack(lower_factor(factor)[0])
            yield criterion.evaluate(other, gradient=False).value - here


def without_least(factor):
    """The factor without its least direction, unless that is zero anyway."""
    U, s, V = np.linalg.svd(factor)
    if s[-1] >= 1e-4:
        s[-1] = 0.0
        yield (U * s) @ V


def with_lost(factor):
    """The factor with some variance in the directions that it does not have."""
    U, s, V = np.linalg.svd(factor)
    for i in np.flatnonzero(s < 1e-4):
        for size in (3e-3, 0.03):
            more = s.copy()
            more[i] = size
            yield (U * more) @ V


def check_singular(res):
    """Each lost direction is better lost, and each of the others better kept."""
    noise = 1e-8 + 1e-12 * abs(res.objective)
    assert all(gain > -noise for gain in turned(res, with_lost))
    if not res.is_singular:
        assert all(gain > noise for gain in turned(res, without_least))


@pytest.mark.parametrize("name", QUICK)
def test_as_good_as_the_best_and_well_judged(name):
    assert excess(name) <= ALLOWED
    check_verdict(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUICK])
def test_the_others(name):
    assert excess(name) <= ALLOWED
    check_verdict(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_reference_models(name):
    assert excess(name) <= ALLOWED
    check_verdict(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NAMES)[::25])
def test_the_stored_minima_are_those_of_the_optimizers(name):
    _, res, _ = fitted(name)
    value, _, _ = best_of_five(res.fit_record, 1, 3)
    noise = 2e-4 if name.startswith("tiny_residual") else ALLOWED
    assert value >= MINIMA[name]["best"] - noise
    assert value <= MINIMA[name]["best"] + 1e-2 or name.startswith("groups_all")


@pytest.mark.parametrize("name", ["near_singular_1", "binary_slopes_2"])
def test_a_search_cut_short_says_so(name):
    case = hard_case(name)
    with pytest.warns(ConvergenceWarning, match="cut short"):
        res = case.fit(control={"max_evaluations": 2})
    assert not res.converged
    assert res.objective > MINIMA[name]["best"] + 1e-6


def test_there_are_three_hundred_and_all_have_a_minimum():
    assert len(NAMES) == 300
    assert set(NAMES) <= set(MINIMA)
