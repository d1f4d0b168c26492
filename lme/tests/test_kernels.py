"""Every kernel against dense matrices, and against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lme.engine import blocked, cholmod, coupling, dense
from lme.engine.choice import KERNELS
from lme.tests.designs import KINDS, RandomDesign

needs_cholmod = pytest.mark.skipif(
    not cholmod.available(), reason="scikit-sparse is not installed"
)
NAMES = [
    pytest.param(name, marks=needs_cholmod if name == "cholmod" else ())
    for name in KERNELS
]
POINTS = ("away", "some zeros", "all zero", "tiny", "large", "turned")


def point(template, where, seed=0):
    """Parameters of a design at a point of some kind."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=template.size)
    if where == "some zeros":
        theta[0] = theta[-1] = 0.0
    elif where == "all zero":
        theta[:] = 0.0
    elif where == "tiny":
        theta *= 10.0 ** rng.uniform(-14, -2, theta.size)
    elif where == "large":
        theta *= 30.0
    elif where == "turned":
        # lambda = [0 0; 1 1]: singular, but no column of it is zero.
        for slot in template.slots:
            p = slot.columns.stop - slot.columns.start
            factor = np.tril(np.ones((p, p)))
            factor[0, 0] = 0.0
            theta[slot.theta] = slot.structure.pack(factor)
    return theta


def close(actual, expected, rtol=1e-10):
    """Agreement relative to the largest entry."""
    scale = float(np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


def check(kernel, design, theta):
    """All answers of a kernel against the dense ones."""
    lambdas = design.template.lambdas(theta)
    schur = kernel.factor(lambdas)
    expected = design.reference(lambdas)
    # Where M is nearly singular, two dense methods would not agree to ten digits.
    rtol = max(1e-10, 2e-14 * expected.condition)
    np.testing.assert_allclose(schur.logdet, expected.logdet, rtol=1e-10, atol=1e-10)
    close(schur.matrix, expected.matrix, rtol)
    for Q, exact in zip(kernel.adjoint(design.weights), expected.Q, strict=True):
        np.testing.assert_array_equal(Q.shape, exact.shape)
        close(Q, exact, max(1e-9, 1e-12 * expected.condition))
    rng = np.random.default_rng(1)
    rhs = [rng.normal(size=(*s.shape, 3)) for s in design.spans()]
    solved = kernel.solve(rhs)
    flat = np.vstack([r.reshape(-1, 3) for r in rhs])
    close(np.vstack([x.reshape(-1, 3) for x in solved]), expected.P @ flat, rtol)
    spans = list(design.spans())
    for block, s in zip(kernel.blocks(), spans, strict=True):
        close(block, expected.P[s[:, :, None], s[:, None, :]], rtol)
    diagonal, pairs = kernel.inverse()
    for block, s in zip(diagonal, spans, strict=True):
        close(block, expected.P[s[:, :, None], s[:, None, :]], rtol)
    assert pairs.keys() == design.cross.pairs.keys()
    for (f, g), block in pairs.items():
        pair = design.cross.pairs[f, g]
        rows, cols = spans[f][pair.rows], spans[g][pair.cols]
        exact = expected.P[rows[:, :, None], cols[:, None, :]]
        # Rounding is relative to the standard deviations on both sides.
        size = np.sqrt(np.abs(diagonal[f]).max() * np.abs(diagonal[g]).max())
        np.testing.assert_allclose(block, exact, rtol=0, atol=rtol * size)


@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_dense(name, kind, where):
    design = RandomDesign(kind)
    check(KERNELS[name](design.cross), design, point(design.template, where))


@pytest.mark.parametrize("pivot", [0.0, 1e-9, 1.0])
@pytest.mark.parametrize("kind", ["one vector", "vector crossed", "nested and crossed"])
@pytest.mark.parametrize("name", NAMES)
def test_factors_with_their_rows_in_another_order(name, kind, pivot, monkeypatch):
    # The search uses them beside singular covariances: nothing is triangular.
    monkeypatch.setattr(dense, "_DIRECT_UP_TO", 0)
    design = RandomDesign(kind)
    rng = np.random.default_rng(0)
    lambdas = []
    for factor in design.factors:
        p = factor.values.shape[1]
        lower = np.tril(rng.normal(size=(p, p)))
        if p > 1:
            lower[-1, -1] *= pivot
        lambdas.append(lower[::-1])
    monkeypatch.setattr(
        type(design.template), "lambdas", lambda template, theta: lambdas
    )
    check(KERNELS[name](design.cross), design, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_against_differences(name, kind):
    design = RandomDesign(kind, seed=3)
    template = design.template
    kernel = KERNELS[name](design.cross)
    for where in ("away", "some zeros"):
        theta = point(template, where, seed=4)

        def value(at):
            schur = kernel.factor(template.lambdas(at))
            return schur.logdet + np.sum(design.weights * schur.matrix)

        step = 1e-4
        numeric = [
            (
                8.0 * (value(theta + step * e) - value(theta - step * e))
                - (value(theta + 2 * step * e) - value(theta - 2 * step * e))
            )
            / (12 * step)
            for e in np.eye(theta.size)
        ]
        lambdas = template.lambdas(theta)
        kernel.factor(lambdas)
        exact = np.empty(theta.size)
        Q = kernel.adjoint(design.weights)
        for slot, J in zip(template.slots, template.jacobians(theta), strict=True):
            inner = 2.0 * Q[slot.factor] @ lambdas[slot.factor]
            part = inner[slot.columns, slot.columns]
            exact[slot.theta] = (J * part).sum(axis=(1, 2))
        # Rounding of the values, about 1e-13 of some hundreds, over the step.
        close(exact, np.array(numeric), 1e-7)


@needs_cholmod
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_agree(kind):
    design = RandomDesign(kind, seed=5, n=1000)
    one, other = (KERNELS[name](design.cross) for name in ("blocked", "cholmod"))
    lambdas = design.template.lambdas(point(design.template, "away", seed=6))
    first, second = one.factor(lambdas), other.factor(lambdas)
    assert first.logdet == pytest.approx(second.logdet, rel=1e-12)
    close(first.matrix, second.matrix)
    for a, b in zip(
        one.adjoint(design.weights), other.adjoint(design.weights), strict=True
    ):
        close(a, b)
    for a, b in zip(one.blocks(), other.blocks(), strict=True):
        close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_of_the_last_point(name):
    design = RandomDesign("vector crossed", seed=7)
    kernel = KERNELS[name](design.cross)
    for where in ("away", "all zero", "large"):
        check(kernel, design, point(design.template, where))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_other_values_on_the_same_pattern(name, kind):
    # As in the iterations of a generalized model, whose weights change.
    weights = np.random.default_rng(11).uniform(0.1, 2.0, 200)
    weights[::7] = 0.0
    first = RandomDesign(kind, seed=8)
    kernel = KERNELS[name](first.cross)
    check(kernel, first, point(first.template, "away"))
    second = RandomDesign(kind, seed=8, weights=weights)
    kernel.load(second.cross)
    for where in ("away", "some zeros"):
        check(kernel, second, point(second.template, where))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_changed(name):
    design = RandomDesign("vector crossed", seed=8)
    kernel = KERNELS[name](design.cross)
    lambdas = design.template.lambdas(point(design.template, "away"))
    rhs = [np.ones((*s.shape, 2)) for s in design.spans()]
    held = [design.cross.gram, *design.cross.dense, *design.cross.diagonal]
    held += [pair.blocks for pair in design.cross.pairs.values()]
    held += [*lambdas, *rhs, design.weights]
    before = [array.copy() for array in held]
    kernel.factor(lambdas)
    kernel.adjoint(design.weights)
    kernel.solve(rhs)
    kernel.blocks()
    kernel.inverse()
    for array, copy in zip(held, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_failure_is_a_value(name, bad):
    design = RandomDesign("vector crossed", seed=9)
    kernel = KERNELS[name](design.cross)
    theta = point(design.template, "away")
    worse = theta.copy()
    worse[0] = bad
    assert kernel.factor(design.template.lambdas(worse)) is None
    check(kernel, design, theta)


def force_sparse(monkeypatch):
    """Let the blocked kernel take the sparse coupling wherever there is a choice."""
    usual = blocked.couple

    def couple(*arguments, dense=False):
        if dense:
            return coupling.DenseCoupling(usual(*arguments, dense=True).values)
        return coupling.SparseCoupling(*arguments)

    monkeypatch.setattr(blocked, "couple", couple)


INNER = (
    "scalar crossed",
    "vector crossed",
    "nested",
    "nested and crossed",
    "small first",
)


@pytest.mark.parametrize("where", ["away", "some zeros", "all zero"])
@pytest.mark.parametrize("direct", [0, 10**9])
@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("how", ["chain", "light", "heavy", "mixed", "dense"])
def test_inner_forms_of_blocked(monkeypatch, how, kind, direct, where):
    monkeypatch.setattr(dense, "_DIRECT_UP_TO", direct)
    for threshold in ("_CHAIN_FROM", "_NESTED_FROM"):
        monkeypatch.setattr(blocked, threshold, 0 if how == "chain" else 10**9)
    if how in ("light", "heavy", "mixed"):
        force_sparse(monkeypatch)
        price = {"light": 0.0, "heavy": 1e12, "mixed": 1.0}[how]
        monkeypatch.setattr(coupling, "SPARSE_COST", price)
    design = RandomDesign(kind, seed=10)
    kernel = blocked.Blocked(design.cross)
    if how == "chain":
        assert len(kernel.chain) > 1 or "nested" not in kind
    check(kernel, design, point(design.template, where))


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    n=st.integers(70, 250),
    px=st.integers(0, 4),
    where=st.sampled_from(POINTS),
)
def test_random_designs(kind, seed, n, px, where):
    design = RandomDesign(kind, seed, n, px)
    theta = point(design.template, where, seed)
    for name, kernel in KERNELS.items():
        if name == "blocked" or cholmod.available():
            check(kernel(design.cross), design, theta)
