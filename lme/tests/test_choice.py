"""Which kernel is taken, and what is said about it."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.covariance import STRUCTURES
from lme.engine import choice, cholmod
from lme.engine.choice import KERNELS, choose, linked
from lme.engine.crossproducts import cross_products
from lme.engine.relcov import Term, assemble
from lme.errors import OptionError
from lme.tests.designs import RandomDesign

needs_cholmod = pytest.mark.skipif(
    not cholmod.available(), reason="scikit-sparse is not installed"
)


def crossed(students, teachers, spread, seed=0):
    """Three classes a student, with teachers at most `spread` apart."""
    rng = np.random.default_rng(seed)
    student = np.repeat(np.arange(students), 3)
    home = rng.integers(0, teachers, students)
    teacher = (np.repeat(home, 3) + rng.integers(0, spread, student.size)) % teachers
    n = student.size
    one = np.ones((n, 1))
    terms = [
        Term(student, students, one, STRUCTURES["us"], 0),
        Term(teacher, teachers, one, STRUCTURES["us"], 1),
    ]
    factors, _ = assemble(terms, None)
    return cross_products(factors, one, rng.normal(size=n))


@pytest.fixture(scope="module")
def local():
    return crossed(4000, 1500, 4)


@pytest.fixture(scope="module")
def tangled():
    return crossed(4000, 1500, 1500)


def test_small_models_are_blocked_at_once():
    cross = RandomDesign("nested and crossed").cross
    kernel, advice = choose(cross)
    assert kernel.name == "blocked"
    assert advice == ""


@needs_cholmod
def test_sparse_rest_is_given_to_cholmod(local):
    kernel, advice = choose(local)
    assert kernel.name == "cholmod"
    assert advice == ""
    assert choice.sparse_seconds(kernel) < choice.blocked_seconds(1500)


def test_tangled_rest_is_blocked(tangled):
    assert linked(tangled, 0, [1]) < choice._FILLED
    kernel, advice = choose(tangled)
    assert kernel.name == "blocked"
    assert advice == ""


def test_filled_rest_is_not_even_analysed(monkeypatch):
    cross = crossed(100_000, 1200, 1200)
    monkeypatch.setattr(choice, "Cholmod", None)
    assert choose(cross)[0].name == "blocked"


def test_share_of_linked_levels():
    cross = crossed(300, 60, 60, seed=1)
    pair = cross.pairs[0, 1]
    meets = np.zeros(pair.shape)
    meets[pair.rows, pair.cols] = 1.0
    share = ((meets.T @ meets) > 0).mean()
    assert linked(cross, 0, [1]) == pytest.approx(share)


def test_advice_without_scikit_sparse(monkeypatch, local):
    monkeypatch.setattr(choice, "available", lambda: False)
    assert choose(local)[1] == ""
    monkeypatch.setattr(choice, "_ADVISE_FROM", 1500)
    kernel, advice = choose(local)
    assert kernel.name == "blocked"
    assert "1,500 random effects" in advice
    assert "pip install" in advice
    assert choose(RandomDesign("one scalar").cross)[1] == ""


@pytest.mark.parametrize("name", KERNELS)
def test_by_name(name):
    if name == "cholmod" and not cholmod.available():
        pytest.skip("scikit-sparse is not installed")
    kernel, advice = choose(RandomDesign("one scalar").cross, name)
    assert kernel.name == name
    assert advice == ""


def test_missing_scikit_sparse_is_an_error(monkeypatch):
    monkeypatch.setattr(choice, "available", lambda: False)
    with pytest.raises(OptionError, match=r"needs scikit-sparse.*kernel='auto'"):
        choose(RandomDesign("one scalar").cross, "cholmod")


@pytest.mark.parametrize("name", ["cholmd", "Blocked", "", 3, None, ["blocked"]])
def test_unknown_kernel(name):
    with pytest.raises(OptionError, match="auto, blocked, cholmod"):
        choose(RandomDesign("one scalar").cross, name)


def test_unknown_kernel_suggests():
    with pytest.raises(OptionError, match="Did you mean 'cholmod'"):
        choose(RandomDesign("one scalar").cross, "cholmd")


@needs_cholmod
def test_large_crossed_generalized_models_are_given_to_cholmod(monkeypatch):
    rng = np.random.default_rng(1)
    n, levels = 1500, 500
    data = pd.DataFrame({"a": rng.integers(0, levels, n), "x": rng.normal(size=n)})
    data["b"] = (data["a"] + rng.integers(0, 3, n)) % levels
    effects = 0.4 * rng.normal(size=(2, levels))
    data["y"] = rng.poisson(np.exp(effects[0, data["a"]] + effects[1, data["b"]]))
    model = lme.glmer("y ~ x + (1 | a) + (1 | b)", data, family="poisson")
    monkeypatch.setattr(choice, "_LOOK_FROM", 300)
    monkeypatch.setattr(choice, "blocked_seconds", lambda m: np.inf)
    sparse = model.fit()
    assert sparse.convergence.kernel == "cholmod"
    monkeypatch.setattr(choice, "available", lambda: False)
    monkeypatch.setattr(choice, "_ADVISE_FROM", 300)
    with pytest.warns(lme.PerformanceWarning, match="scikit-sparse"):
        dense = model.fit()
    assert dense.convergence.kernel == "blocked"
    assert sparse.objective == pytest.approx(dense.objective, rel=1e-9)
    np.testing.assert_allclose(sparse.bse, dense.bse, rtol=1e-6)
