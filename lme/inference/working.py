"""The fit as a penalized least-squares problem, and what its factor says.

A linear mixed model is one; a generalized one is one at the conditional modes, with
the working weights there. Both sides of inference meet in these functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.accumulation import triangular
from lme.engine.choice import choose
from lme.engine.decompositions import penalized_system
from lme.engine.kernel import Kernel
from lme.errors import FitError
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.partitions.design import PartitionedDesign

Array = NDArray[np.float64]

#: The record of a fitted model, linear or generalized.
MixedFit = Fit | GLMMFit


def triangle_of_X(fit: MixedFit) -> Array:
    """Triangular factor of X, (p, p), which data in partitions have too."""
    design = fit.design
    if isinstance(design, PartitionedDesign):
        return triangular(design.parts.tabulation.plain[0][:, fit.kept_columns])
    return np.asarray(np.linalg.qr(fit.X)[1], dtype=np.float64)


def log_extra(fit: GLMMFit) -> float:
    """Logarithm of the dispersion or of theta, as families take it; 0 without one."""
    return float(np.log(fit.extra)) if fit.family.extra is not None else 0.0


def working_weights(fit: GLMMFit) -> Array:
    """``W`` at the modes, (n,): what ``log|H|`` of the criterion was made of."""
    at = fit.rows.at
    return at.Wo if fit.laplace == "observed" else at.W


def root_weights(fit: MixedFit) -> Array | None:
    """Square roots of the weights of the least-squares problem; None for ones."""
    if isinstance(fit, GLMMFit):
        return np.sqrt(np.maximum(working_weights(fit), 0.0))
    return fit.problem.sqrt_weights


def factored(fit: MixedFit) -> Kernel:
    """A kernel with the factorization of ``Lambda'Z'WZ Lambda + I``."""
    template = fit.problem.template
    kernel: Kernel
    if isinstance(fit, GLMMFit):
        kernel = choose(fit.rows.cross(fit.laplace == "observed"))[0]
    else:
        kernel = fit.criterion.borrow()
    if kernel.factor(template.lambdas(template.internal(fit.theta))) is None:
        raise FitError(
            "The Hessian of the random effects is not positive definite at the modes.",
            "Their conditional covariance needs its inverse.",
            "Fit with laplace='expected'.",
        )
    return kernel


def conditional_covariance(fit: MixedFit) -> tuple[Array, ...]:
    """``sigma^2 Lambda M^-1 Lambda'`` by level, per term (l, p, p).

    The covariance of the random effects given the data, theta and beta (lme4's
    ``condVar``), on the squared scale of the effects. For a generalized model ``M`` is
    ``H``, half the Hessian of the penalized deviance at the modes, and sigma is 1.
    """
    blocks = factored(fit).blocks()
    slots = iter(fit.problem.template.slots)
    out = []
    for term in fit.design.terms:
        if not term.values.shape[1]:
            out.append(np.zeros((len(term.levels), 0, 0)))
            continue
        slot = next(slots)
        inner = blocks[slot.factor][:, slot.columns, slot.columns]
        out.append(fit.sigma**2 * (slot.basis @ inner @ slot.basis.T))
    return tuple(out)


def relative_factor(fit: MixedFit) -> sparse.csr_array:
    """``Lambda`` (q, q) with ``b = Lambda u``, levels with known covariances too."""
    blocks = []
    for term, factor in zip(fit.design.terms, fit.lambdas, strict=True):
        count = len(term.levels)
        root = sparse.eye_array(count, format="csr")
        if term.known is not None:
            root = sparse.csr_array(term.known.colour(np.eye(count)))
        blocks.append(sparse.kron(root, factor))
    return sparse.csr_array(sparse.block_diag(blocks, format="csr"))


def factors(fit: MixedFit) -> dict[str, Any]:
    """Sparse matrices of the least-squares problem; see `penalized_system`."""
    if not isinstance(fit, GLMMFit) and fit.problem.chain is not None:
        raise FitError(
            "The matrices of the least-squares problem are those of weighted rows.",
            "With a residual correlation its rows are sums of rows of the data.",
            "result.fit_record.problem has the whitened columns and cross-products.",
        )
    Zt: Any = fit.design.Zt
    return penalized_system(Zt, relative_factor(fit), fit.X, root_weights(fit))
