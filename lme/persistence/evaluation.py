"""The record of a fit at stored parameters, without a search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme import errors
from lme.convergence import Verdict
from lme.engine import lmm, rows
from lme.engine.choice import choose
from lme.engine.lmm import Criterion
from lme.engine.quadrature import criterion_of
from lme.errors import DataError, LMEWarning, OptionError
from lme.families.base import Family
from lme.fit import Fit
from lme.fit import freeze as freeze_linear
from lme.fixing import hold
from lme.formula.design import Design
from lme.generalized import GLMMFit
from lme.generalized import freeze as freeze_generalized
from lme.inference.working import MixedFit
from lme.optimizers import find_optimizer
from lme.persistence.document import Reader
from lme.preparation import check_sigma, engine_terms, keep_columns
from lme.search import Trace, control_from
from lme.starting import check_quadrature
from lme.whitened import composition, whitened_at

Array = NDArray[np.float64]


def record_at(stored: Reader, design: Design, family: Family | None) -> MixedFit:
    """The record that a fit with the stored parameters has.

    Parameters
    ----------
    stored : Reader
        The document.
    design : Design
        The same as that of the fit.
    family : Family or None
        Of a generalized model.

    Raises
    ------
    DataError
        For values that cannot be, and where the criterion is not finite.
    """
    wishes = stored.part("fit")
    if wishes.has("fix") and wishes.mapping("fix"):
        design = hold(design, {"theta": wishes.mapping("fix")})
    X, kept, _ = keep_columns(design, "drop")
    terms = engine_terms(design)
    if family is None and design.residual is not None:
        phi = stored.part("estimates").vector("residual")
        if phi.size != composition(design).size:
            raise stored.wrong("residual", "parameters of the residual structure")
        whole, problem, residual = whitened_at(design, X, phi)
        return replace(_linear(stored, whole, problem, kept), residual=residual)
    if family is None:
        problem = lmm.build(
            design.y, X, terms, weights=design.weights, offset=design.offset
        )
        return _linear(stored, design, problem, kept)
    working = rows.build(
        design.y, X, terms, family, weights=design.weights, offset=design.offset
    )
    return _generalized(stored, design, working, kept)


def _linear(
    stored: Reader, design: Design, problem: lmm.Problem, kept: NDArray[np.intp]
) -> Fit:
    wishes = stored.part("fit")
    sigma = check_sigma(wishes.number("sigma") if wishes.has("sigma") else None)
    asked = wishes.text("kernel")
    estimates = stored.part("estimates")
    extra = estimates.vector("residual").size if estimates.has("residual") else 0
    verdict = _verdict(stored, extra + problem.template.size)
    try:
        kernel, _ = choose(problem.cross, verdict.kernel)
    except OptionError:  # made where CHOLMOD was installed
        kernel, _ = choose(problem.cross, "auto")
    criterion = Criterion(problem, kernel, wishes.flag("reml"), sigma)
    theta = estimates.vector("theta", problem.template.count)
    estimates.vector("beta", problem.p)
    at = criterion.evaluate(problem.template.internal(theta), gradient=False)
    _check_finite(stored, at.value)
    options = _options(wishes) | {"sigma": sigma, "kernel": asked}
    return freeze_linear(
        design,
        criterion,
        at,
        kept,
        replace(verdict, kernel=kernel.name),
        _trace(stored, theta.size),
        _notes(stored),
        options,
    )


def _generalized(
    stored: Reader, design: Design, problem: rows.Problem, kept: NDArray[np.intp]
) -> GLMMFit:
    wishes, estimates = stored.part("fit"), stored.part("estimates")
    nAGQ, used = wishes.whole("nAGQ"), wishes.text("laplace")
    check_quadrature(nAGQ, used, problem)
    criterion = criterion_of(problem, nAGQ, used == "observed")
    theta = estimates.vector("theta", problem.template.count)
    gamma = problem.R @ estimates.vector("beta", problem.p)
    criterion.gamma = gamma
    psi = problem.template.internal(theta)
    if nAGQ:
        psi = np.concatenate([gamma, psi])
    if problem.family.extra is not None:
        extra = estimates.number("extra")
        if extra <= 0.0:
            raise estimates.wrong("extra", "a positive number")
        psi = np.append(psi, np.log(extra))
    at = criterion.evaluate(psi, gradient=False)
    _check_finite(stored, at.value)
    options = _options(wishes) | {"laplace": wishes.text("laplace_option")}
    return freeze_generalized(
        design,
        criterion,
        at,
        kept,
        nAGQ,
        _verdict(stored, psi.size),
        _trace(stored, theta.size),
        _notes(stored),
        options,
    )


def _check_finite(stored: Reader, value: float) -> None:
    if not np.isfinite(value):
        raise DataError(
            f"The criterion of {stored.source!r} is not finite at the stored theta.",
            "Expected the parameters of a fit to these data.",
            "Fit the model again.",
        )


def _options(wishes: Reader) -> dict[str, Any]:
    optimizer = wishes.text("optimizer")
    find_optimizer(optimizer)
    control = wishes.mapping("control")
    return {"optimizer": optimizer, "control": control_from(control), "verbose": 0}


def _verdict(stored: Reader, size: int) -> Verdict:
    """The verdict of the search, with `size` parameters."""
    part = stored.part("verdict")
    return Verdict(
        converged=part.flag("converged"),
        singular=part.flag("singular"),
        unique=part.flag("unique"),
        message=part.text("message"),
        decrease=part.number("decrease", finite=False),
        gradient=part.vector("gradient", size, finite=False),
        hessian=part.matrix("hessian", size, size, finite=False),
        eigenvalues=part.vector("eigenvalues", finite=False),
        boundary=part.texts("boundary"),
        kernel=part.text("kernel"),
        optimizer=part.text("optimizer"),
        evaluations=part.whole("evaluations"),
        seconds=part.number("seconds"),
    )


def _trace(stored: Reader, size: int) -> Trace:
    part = stored.part("trace")
    objective = part.vector("objective", finite=False)
    norms = part.vector("gradient_norm", objective.size, finite=False)
    return Trace(
        objective, norms, part.matrix("theta", objective.size, size, finite=False)
    )


def _notes(stored: Reader) -> list[LMEWarning]:
    """The warnings of the fit, in our own classes only."""
    found: list[LMEWarning] = []
    for note in stored.records("warnings"):
        kind = getattr(errors, note.text("class"), LMEWarning)
        ours = isinstance(kind, type) and issubclass(kind, LMEWarning)
        found.append((kind if ours else LMEWarning)(note.text("message")))
    return found
