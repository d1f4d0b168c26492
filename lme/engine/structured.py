"""Criteria of a linear mixed model whose residuals have a structure.

``y = X beta + Z b + e`` with ``Var(e) = sigma^2 S R S`` becomes an ordinary model when
it is multiplied by ``W = R^-1/2 S^-1``; W depends on the parameters phi of the
structure. They are searched together with theta, ``psi = (phi, theta)``: for each phi
the cross-products are formed again in one pass over the rows, and the same pass gives
the exact gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from lme.engine.choice import choose
from lme.engine.crossproducts import (
    CrossProducts,
    Pattern,
    cross_products,
    pattern,
)
from lme.engine.decompositions import orthonormal
from lme.engine.information import directions
from lme.engine.kernel import Kernel
from lme.engine.lmm import Criterion, Evaluation, Problem, least_squares
from lme.engine.relcov import lower_factor
from lme.residual import Composition
from lme.residual.chain import Chain

Array = NDArray[np.float64]

#: Logarithms of relative standard deviations beyond which their squares are no numbers
#: to calculate with.
_FAR = 300.0


@dataclass(frozen=True)
class RowParts:
    """What random effects leave of X and y, before and after whitening.

    Attributes
    ----------
    base_left, white_left : (n, p) arrays
        Of the columns of X.
    base_residual, white_residual : (n,) arrays
        Of the response less its fixed effects: conditional residuals.
    """

    base_left: Array
    white_left: Array
    base_residual: Array
    white_residual: Array


@dataclass
class StructuredEvaluation:
    """The criterion at one psi.

    Attributes
    ----------
    theta : (m + k,) array
        The parameters of the search psi: phi, then theta (internal basis).
    value : float
    gradient : (m + k,) array
    inner : Evaluation or None
        Of the whitened problem at theta; None where there is no value.
    information : (m + k, m + k) array
        What `curvature` found; empty before.
    rows : RowParts or None
        What the gradient took from the rows.
    """

    theta: Array
    value: float
    gradient: Array
    criterion: StructuredCriterion
    inner: Evaluation | None = None
    information: Array = field(default_factory=lambda: np.empty((0, 0)))
    rows: RowParts | None = None

    def curvature(self) -> Array:
        """Model of the Hessian, (m + k, m + k): see `StructuredCriterion.curvature`."""
        if not self.information.size:
            self.information = self.criterion.curvature(self)
        return self.information


class StructuredCriterion:
    """ML or REML criterion as a function of residual parameters and theta.

    Parameters
    ----------
    base : Problem
        The model without a structure; it may have prior weights.
    structure : Composition
    kernel : str
        A row of `lme.engine.choice.KERNELS`, or "auto".
    reml : bool
    sigma : float, optional
        A residual standard deviation that is known.

    Notes
    -----
    With sigma estimated the standard deviations are divided by their geometric mean
    here, which changes sigma and nothing else: a variance function of calendar years
    would otherwise move theta by orders of magnitude.
    """

    def __init__(
        self,
        base: Problem,
        structure: Composition,
        kernel: str,
        reml: bool,
        sigma: float | None = None,
    ) -> None:
        self.base = base
        self.structure = structure
        self.reml = reml
        self.sigma = sigma
        self.evaluations = 0
        self.kernel: Kernel
        self.kernel, self.advice = choose(base.cross, kernel)
        self._pattern = pattern(base.factors)
        self._held: StructuredEvaluation | None = None

    @property
    def size(self) -> int:
        """Number of residual parameters."""
        return self.structure.size

    def _logs(self, phi: Array) -> Array:
        logs = self.structure.log_deviations(phi)
        return logs - logs.mean() if self.sigma is None else logs

    def problem_at(self, phi: Array, centred: bool = True) -> Problem | None:
        """The whitened problem; None where phi is out of reach.

        Parameters
        ----------
        phi : (m,) array
        centred : bool
            Divide standard deviations by their geometric mean (if sigma is estimated).
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            logs = self._logs(phi) if centred else self.structure.log_deviations(phi)
            if not np.abs(logs).max(initial=0.0) < _FAR:
                return None
            chain = self.structure.chain(phi)
            gains = np.ones(1) if chain is None else chain.gain
        if not np.isfinite(gains).all():
            return None
        scale = np.exp(-logs) if self.structure.variances else None
        return whitened(self.base, self._pattern, scale, chain)

    def final_problem(self, phi: Array) -> Problem:
        """The whitened problem in the units of the structure, its basis orthonormal."""
        problem = self.problem_at(phi, centred=False)
        if problem is None:
            raise ValueError("There is no problem at phi.")
        basis, R = orthonormal(problem.basis)
        z = problem.y if problem.offset is None else problem.y - problem.offset
        level, residual = least_squares(problem.whiten(z), basis)
        return replace(
            problem,
            basis=basis,
            R=R @ self.base.R,
            level=level,
            residual=residual,
            cross=cross_products(problem.factors, basis, residual),
        )

    def final_theta(self, psi: Array) -> Array:
        """Theta in the units of `final_problem` (internal basis)."""
        m, template = self.size, self.base.template
        theta = psi[m:].copy()
        if self.sigma is not None:
            return theta
        times = float(np.exp(self.structure.log_deviations(psi[:m]).mean()))
        for slot in template.slots:
            structure = slot.structure
            width = slot.columns.stop - slot.columns.start
            factor = times * structure.factor(theta[slot.theta], width)
            if not structure.linear:
                factor, _ = lower_factor(factor)
            theta[slot.theta] = structure.pack(factor)
        return theta

    def evaluate(self, psi: Array, gradient: bool = True) -> StructuredEvaluation:
        """Value and exact gradient at psi."""
        self.evaluations += 1
        m = self.size
        nothing = np.full(psi.size, np.nan)
        problem = self.problem_at(psi[:m])
        if problem is None:
            return StructuredEvaluation(psi, np.inf, nothing, self)
        self.kernel.load(problem.cross)
        inner = Criterion(problem, self.kernel, self.reml, self.sigma)
        at = inner.evaluate(psi[m:], gradient)
        if not np.isfinite(at.value):
            return StructuredEvaluation(psi, np.inf, nothing, self)
        out = StructuredEvaluation(psi, at.value, np.empty(0), self, at)
        self._held = out
        if gradient:
            out.rows = self._rows(at)
            slope = self._slope(psi[:m], at, out.rows)
            out.gradient = np.concatenate([slope, at.gradient])
        return out

    def _hold(self, at: StructuredEvaluation) -> Evaluation:
        """Bring the kernel back to the state of an earlier evaluation."""
        if at.inner is None:
            raise TypeError("There is no evaluation to return to.")
        if self._held is not at:
            self.kernel.load(at.inner.criterion.problem.cross)
            self.kernel.factor(at.inner.lambdas)
            self._held = at
        return at.inner

    def _rows(self, at: Evaluation) -> RowParts:
        """What the gradient takes from each row, in one pass."""
        problem = at.criterion.problem
        p = problem.p
        solved = self.kernel.solve(problem.cross.dense)
        base = np.column_stack([self.base.basis, self.base.residual])
        white = np.column_stack([problem.basis, problem.residual])
        for inner, outer, x in zip(
            self.base.factors, problem.factors, solved, strict=True
        ):
            at_rows = x[inner.codes]
            base -= np.einsum("np,npr->nr", inner.values, at_rows)
            white -= np.einsum("np,npr->nr", outer.values, at_rows)
        w = np.append(-at.coefficients, 1.0)
        return RowParts(base[:, :p], white[:, :p], base @ w, white @ w)

    def _slope(self, phi: Array, at: Evaluation, rows: RowParts) -> Array:
        """Derivative in phi.

        Notes
        -----
        By the envelope theorem only W moves. With ``e`` the conditional residual, T
        what random effects leave of X, and ``P = Lambda M^-1 Lambda'``, the derivative
        is twice the inner product of ``dW [Z, T, e]`` with ``[W Z P, W T (R_X'R_X)^-1,
        W e / s^2]``, minus twice that of ``log |W|``.
        """
        problem = at.criterion.problem
        base = [factor.values for factor in self.base.factors]
        other = self._times_inverse(problem)
        if self.reml and problem.p:
            half = blas.dtrsm(1.0, at.RX, rows.white_left, side=1, lower=0)
            other.append(blas.dtrsm(1.0, at.RX, half, side=1, lower=0, trans_a=1))
            base.append(rows.base_left)
        precision = at.criterion.precision(at.r2)
        base.append(rows.base_residual[:, None])
        other.append(precision * rows.white_residual[:, None])
        return self._pull_back(phi, problem, np.hstack(base), np.hstack(other))

    def _pull_back(self, phi: Array, problem: Problem, D: Array, G: Array) -> Array:
        """``2 <dW D, G> - 2 d log|W|`` for each parameter, (m,)."""
        chain = problem.chain
        scale = self._scale(problem)
        t = scale[:, None] * D
        back = G if chain is None else chain.whiten_transposed(G)
        jacobian = self._deviation_jacobian(phi)
        out = -2.0 * jacobian.T @ np.einsum("nc,nc->n", t, back)
        out += 2.0 * jacobian.sum(axis=0)
        if chain is not None:
            c, gain = chain.with_previous, chain.gain
            inner = c * np.einsum("nc,nc->n", t, G)
            inner -= np.einsum("nc,nc->n", chain.previous(t), G)
            slopes = chain.by_rows(self.structure.chain_jacobian(phi))
            out += 2.0 * slopes.T @ (gain**3 * inner - c * gain**2)
        return np.asarray(out)

    def _scale(self, problem: Problem) -> Array:
        """Inverse standard deviations beside the prior weights, (n,)."""
        root, prior = problem.sqrt_weights, self.base.sqrt_weights
        if root is None:
            return np.ones(problem.n)
        return root if prior is None else root / prior

    def _deviation_jacobian(self, phi: Array) -> Array:
        jacobian = self.structure.deviation_jacobian(phi)
        if self.sigma is None:
            jacobian = jacobian - jacobian.mean(axis=0)
        return jacobian

    def _times_inverse(self, problem: Problem) -> list[Array]:
        """Rows of ``Z P`` at their own levels, (n, p) per factor."""
        diagonal, pairs = self.kernel.inverse()
        factors = problem.factors
        out = [
            np.einsum("nab,nb->na", block[factor.codes], factor.values)
            for factor, block in zip(factors, diagonal, strict=True)
        ]
        for (f, g), block in pairs.items():
            at_rows = block[self._pattern.pairs[f, g][2]]
            out[f] += np.einsum("nab,nb->na", at_rows, factors[g].values)
            out[g] += np.einsum("nab,na->nb", at_rows, factors[f].values)
        return out

    def curvature(self, at: StructuredEvaluation) -> Array:
        """Average information of psi; see `Criterion.curvature`.

        Notes
        -----
        ``V_k P y = -(D_k + D_k') W e`` with ``D_k = W_k W^-1``. The second derivatives
        of V in phi, whose expected contribution is zero, are left out.
        """
        inner = self._hold(at)
        m = self.size
        problem = inner.criterion.problem
        rows = at.rows or self._rows(inner)
        columns, second, score = directions(inner.criterion, inner)
        T = np.empty((problem.n, m + score.size))
        T[:, :m] = self._changes(at.theta[:m], problem, rows)
        T[:, m:] = sum(
            np.einsum("np,npk->nk", factor.values, c[factor.codes])
            for factor, c in zip(problem.factors, columns, strict=True)
        )
        every = np.concatenate([rows.white_residual @ T[:, :m], score])
        ZT = [factor.gather(T) for factor in problem.factors]
        solved = self.kernel.solve(ZT)
        information = T.T @ T
        XV = problem.basis.T @ T
        for z, x, dense in zip(ZT, solved, problem.cross.dense, strict=True):
            flat = x.reshape(-1, x.shape[2])
            information -= z.reshape(-1, z.shape[2]).T @ flat
            XV -= dense.reshape(-1, dense.shape[2])[:, :-1].T @ flat
        if problem.p:
            half = blas.dtrsm(1.0, inner.RX, XV, lower=0, trans_a=1)
            information -= half.T @ half
        s = inner.criterion.precision(inner.r2)
        out = s * information
        if self.sigma is None:
            out -= (s * s / inner.criterion.df) * (every[:, None] * every)
        out[m:, m:] += second
        return np.asarray(0.5 * (out + out.T))

    def _changes(self, phi: Array, problem: Problem, rows: RowParts) -> Array:
        """``V_k P y`` in the whitened rows for each residual parameter, (n, m)."""
        chain = problem.chain
        jacobian = self._deviation_jacobian(phi)
        e = rows.white_residual
        if chain is None:
            return 2.0 * jacobian * e[:, None]
        t = self._scale(problem) * rows.base_residual
        c = chain.with_previous[:, None]
        slopes = chain.by_rows(self.structure.chain_jacobian(phi))
        slopes = slopes * (chain.gain**3)[:, None]
        late = slopes * e[:, None]
        back = jacobian * chain.whiten_transposed(e)[:, None]
        back += chain.onto_previous(late) - c * late
        out = chain.whiten(jacobian * t[:, None]) + chain.colour_transposed(back)
        out -= slopes * (c * t[:, None] - chain.previous(t)[:, None])
        return out


def whitened(
    base: Problem, pattern: Pattern, scale: Array | None, chain: Chain | None
) -> Problem:
    """A problem multiplied by W; its basis is then no longer orthonormal.

    Parameters
    ----------
    base : Problem
    pattern : Pattern
        Of its factors.
    scale : (n,) array or None
        Inverse standard deviations, beside the prior weights; None: all 1.
    chain : Chain or None
    """

    def whiten(columns: Array) -> Array:
        out = columns if scale is None else scale[:, None] * columns
        return out if chain is None else chain.whiten(out)

    factors = tuple(replace(f, values=whiten(f.values)) for f in base.factors)
    dense = whiten(np.column_stack([base.basis, base.residual]))
    cross: CrossProducts = replace(pattern, factors=factors).cross_products(dense)
    root = base.sqrt_weights
    if scale is not None:
        root = scale if root is None else root * scale
    return replace(
        base,
        sqrt_weights=root,
        chain=chain,
        factors=factors,
        basis=np.ascontiguousarray(dense[:, :-1]),
        residual=dense[:, -1].copy(),
        cross=cross,
        shared={},
    )
