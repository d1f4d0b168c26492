"""The sparse kernel: its pattern, its orderings, and both versions of scikit-sparse."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from lme.engine import cholmod
from lme.engine.cholmod import Cholmod
from lme.engine.system import System
from lme.tests.designs import KINDS, RandomDesign, filled_pattern, parents, postorder

needs_cholmod = pytest.mark.skipif(
    not cholmod.available(), reason="scikit-sparse is not installed"
)


class NotPositiveDefinite(Exception):
    pass


class NotInstalled(Exception):
    pass


class Factor05:
    """What the adapter uses of `sksparse.cholmod.CholeskyFactor` of 0.5, dense.

    As there, a factor is made from a csc_array, is symbolic at first, is left in
    column-wise form by `factorize`, and its copies drop explicit zeros.
    """

    symbolic_copies = 0

    def __init__(self, A, *, lower=True, order="default", supernodal_mode=None):
        assert isinstance(A, sparse.csc_array)
        assert lower
        assert supernodal_mode in ("auto", "simplicial", "supernodal")
        if order == "metis":
            raise NotInstalled
        self._pattern = self._symmetric(A) != 0
        perm = np.arange(A.shape[0])[::-1]
        filled = filled_pattern(self._pattern[np.ix_(perm, perm)])
        self._perm = perm[postorder(parents(filled))]
        self._L = None

    @staticmethod
    def _symmetric(A):
        # The entries of a pattern may be zeros.
        A = sparse.csc_array((A.data + 0.0, A.indices, A.indptr), shape=A.shape)
        lower = A.toarray()
        return lower + np.tril(lower, -1).T

    def copy(self):
        assert self._L is None, "a numeric factor would stay simplicial"
        Factor05.symbolic_copies += 1
        twin = object.__new__(Factor05)
        twin.__dict__.update(self.__dict__)
        return twin

    def get_perm(self):
        return self._perm.copy()

    def factorize(self, A, ldl=None):
        assert ldl is False
        M = self._symmetric(A)[np.ix_(self._perm, self._perm)]
        if np.linalg.eigvalsh(M).min() <= 0:
            raise NotPositiveDefinite
        self._L = np.linalg.cholesky(M)
        return self

    @property
    def factor(self):
        filled = filled_pattern(self._pattern[np.ix_(self._perm, self._perm)])
        cols, rows = np.nonzero(filled.T)
        starts = np.searchsorted(cols, np.arange(len(filled) + 1))
        # CHOLMOD's arrays may be longer than what is in use.
        data = np.append(self._L[rows, cols], np.nan)
        out = sparse.csc_array(self._L.shape)
        out.data, out.indices, out.indptr = data, np.append(rows, 0), starts
        return out

    def solve(self, b):
        assert b.flags.f_contiguous
        out = np.empty_like(b)
        half = np.linalg.solve(self._L, b[self._perm])
        out[self._perm] = np.linalg.solve(self._L.T, half)
        return out


@pytest.fixture
def version05(monkeypatch):
    library = SimpleNamespace(
        CholeskyFactor=Factor05,
        CholmodNotPositiveDefiniteError=NotPositiveDefinite,
        CholmodNotInstalledError=NotInstalled,
        CholmodWarning=UserWarning,
    )
    monkeypatch.setattr(cholmod, "_library", library)


def check(kernel, design, theta):
    lambdas = design.template.lambdas(theta)
    schur = kernel.factor(lambdas)
    exact = design.reference(lambdas)
    np.testing.assert_allclose(schur.logdet, exact.logdet, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(schur.matrix, exact.matrix, rtol=1e-10, atol=1e-10)
    for Q, expected in zip(kernel.adjoint(design.weights), exact.Q, strict=True):
        np.testing.assert_allclose(Q, expected, rtol=1e-9, atol=1e-9)
    rhs = [np.ones((*s.shape, 2)) for s in design.spans()]
    solved = np.vstack([x.reshape(-1, 2) for x in kernel.solve(rhs)])
    np.testing.assert_allclose(solved[:, 0], exact.P.sum(axis=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["vector crossed", "nested and crossed"])
def test_version_05(version05, monkeypatch, kind):
    # Large enough for nested dissection, which this version does not have.
    monkeypatch.setattr(cholmod, "_DISSECT", 0)
    design = RandomDesign(kind)
    before = Factor05.symbolic_copies
    kernel = Cholmod(design.cross)
    assert isinstance(kernel._analysis, cholmod.Analysis05)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=design.template.size)
    check(kernel, design, theta)
    check(kernel, design, 0.0 * theta)
    assert Factor05.symbolic_copies == before + 2


def test_indefinite_is_none_in_05(version05):
    matrix = sparse.csc_matrix(np.array([[1.0, 0.0], [2.0, 1.0]]))
    analysis = cholmod.analyze(matrix, "simplicial", "amd")
    assert analysis.factorize(matrix.data) is None


@needs_cholmod
@pytest.mark.parametrize("mode", ["simplicial", "supernodal"])
def test_indefinite_is_none(mode):
    matrix = sparse.csc_matrix(np.array([[1.0, 0.0], [2.0, 1.0]]))
    analysis = cholmod.analyze(matrix, mode, "amd")
    assert analysis.factorize(matrix.data) is None


@pytest.mark.parametrize("kind", KINDS)
def test_system(kind):
    design = RandomDesign(kind, seed=1)
    system = System(design.cross)
    rng = np.random.default_rng(2)
    q = system.offsets[-1]
    S = rng.normal(size=(q, q))
    S = S + S.T
    for scale in (1.0, 0.0):
        lambdas = [scale * rng.normal(size=(p, p)) for p in design.cross.widths]
        data = system.assemble(lambdas)
        pattern = system.matrix
        lower = sparse.csc_matrix((data, pattern.indices, pattern.indptr)).toarray()
        ZL = design.Z.copy()
        for lam, s in zip(lambdas, design.spans(), strict=True):
            ZL[:, s] = design.Z[:, s] @ lam
        M = ZL.T @ ZL
        np.testing.assert_allclose(lower, np.tril(M) + np.eye(q), atol=1e-10)
        # Zeros stay in the pattern.
        assert data.size == pattern.indices.size == system.rows.size
        entries = S[system.rows, system.cols]
        seen = np.zeros((q, q))
        seen[system.rows, system.cols] = seen[system.cols, system.rows] = entries
        products = M @ seen
        answers = zip(
            system.products(entries),
            system.diagonal(entries),
            design.spans(),
            strict=True,
        )
        for got, block, s in answers:
            at = s[:, :, None], s[:, None, :]
            np.testing.assert_array_equal(block, S[at])
            np.testing.assert_allclose(got, products[at].sum(axis=0), atol=1e-8)


@needs_cholmod
@pytest.mark.parametrize("mode", ["simplicial", "supernodal"])
@pytest.mark.parametrize("ordering", ["amd", "metis"])
@pytest.mark.parametrize("kind", ["vector crossed", "nested", "local"])
def test_modes_and_orderings(monkeypatch, kind, ordering, mode):
    usual = cholmod.analyze
    monkeypatch.setattr(
        cholmod, "analyze", lambda matrix, *_: usual(matrix, mode, ordering)
    )
    design = RandomDesign(kind, seed=2, n=400)
    kernel = Cholmod(design.cross)
    rng = np.random.default_rng(3)
    for _ in range(2):
        check(kernel, design, rng.normal(size=design.template.size))
    indptr, indices, _ = kernel._analysis.lower()
    starts = indices[indptr[:-1]]
    np.testing.assert_array_equal(starts, np.arange(starts.size))
    if mode == "simplicial":
        assert kernel.cost.entries == indices.size
    else:
        # Dense panels hold some zeros beside the entries.
        assert kernel.cost.entries <= indices.size


@needs_cholmod
def test_the_cheaper_analysis(monkeypatch):
    calls = []
    usual = cholmod.analyze

    def analyze(matrix, mode, ordering):
        calls.append((mode, ordering))
        return usual(matrix, mode, ordering)

    monkeypatch.setattr(cholmod, "analyze", analyze)
    cross = RandomDesign("vector crossed").cross
    Cholmod(cross)
    assert calls == [("simplicial", "amd")]
    calls.clear()
    monkeypatch.setattr(cholmod, "_DISSECT", 0)
    monkeypatch.setattr(cholmod, "_SIMPLICIAL", 0.0)
    Cholmod(cross)
    assert calls[:2] == [("simplicial", "amd"), ("simplicial", "metis")]
    assert len(calls) == 3
    assert calls[2][0] == "supernodal"


@needs_cholmod
@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-14, 1e-9, 1e-7, 1e-4])
def test_adjoint_near_a_variance_of_zero(size):
    # The limit is exact: nothing may be lost where Q is divided by lambda twice.
    design = RandomDesign("vector crossed", seed=4)
    kernel = Cholmod(design.cross)
    rng = np.random.default_rng(5)
    lambdas = []
    for p in design.cross.widths:
        U, V = np.linalg.qr(rng.normal(size=(2, p, p)))[0]
        lambdas.append(U @ np.diag([size, 1.0, 0.3][:p]) @ V)
    kernel.factor(lambdas)
    exact = design.reference(lambdas).Q
    for Q, expected in zip(kernel.adjoint(design.weights), exact, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(Q, expected, rtol=0, atol=1e-12 * scale)


@needs_cholmod
def test_no_variance_no_effect():
    design = RandomDesign("vector crossed", seed=6)
    kernel = Cholmod(design.cross)
    lambdas = [np.zeros((2, 2)), np.diag([1.0, 0.0, 2.0]), np.ones((1, 1))]
    schur = kernel.factor(lambdas)
    rhs = [np.ones((*s.shape, 2)) for s in design.spans()]
    solved, blocks = kernel.solve(rhs), kernel.blocks()
    assert not solved[0].any()
    assert not solved[1][:, 1].any()
    assert not blocks[0].any()
    assert not blocks[1][:, 1].any()
    assert solved[2].all()
    kernel.factor([0.0 * lam for lam in lambdas])
    assert np.isfinite(schur.logdet)


def test_import_without_scikit_sparse():
    script = (
        "import sys\n"
        "sys.modules['sksparse'] = None\n"
        "from lme.engine import choice, cholmod\n"
        "assert not cholmod.available()\n"
        "assert set(choice.KERNELS) == {'blocked', 'cholmod'}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
