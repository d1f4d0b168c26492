"""Linear hypotheses about the fixed effects, written with R's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import patsy
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.coverage import check_alpha
from lme.inference.estimates import coefficient_names
from lme.inference.hypotheses.ddf import Denominator, t_tests
from lme.inference.robust.sandwich import Sandwich
from lme.inference.working import MixedFit

Array = NDArray[np.float64]
COV_TYPES = ("hessian", "rx")
CovType = str | Sandwich | None
Hypothesis = str | Sequence[str] | Mapping[str, float] | ArrayLike


def linear_constraint(
    names: Sequence[str], hypothesis: Hypothesis | tuple[ArrayLike, ArrayLike]
) -> tuple[Array, Array]:
    """The matrix R and vector q of a hypothesis ``R beta = q``.

    Parameters
    ----------
    names : sequence of str
        Names of the p coefficients, such as ``(Intercept)`` and ``I(x^2)``.
    hypothesis : str, sequence of str, mapping, array_like or tuple
        Text (``"Days = 0"``, ``"(Intercept) = 250, Days = 10"``, ``"a - b"``), a list
        of such texts, a mapping from name to value, an array of shape (p,) or (q, p)
        for ``R beta = 0``, or a pair of arrays ``(R, q)``.

    Returns
    -------
    R : ndarray, shape (q, p)
        Coefficients, a row a hypothesis.
    q : ndarray, shape (q,)
        Values on the right-hand side.

    Raises
    ------
    OptionError
        If a name is not a coefficient, the text cannot be read, or a shape is wrong.

    Examples
    --------
    >>> names = ["(Intercept)", "Days"]
    >>> R, q = linear_constraint(names, "(Intercept) = 250, Days = 10")
    >>> R.tolist(), q.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [250.0, 10.0])
    """
    if isinstance(hypothesis, (str, Mapping)) or _is_texts(hypothesis):
        return _from_text(names, hypothesis)
    values: ArrayLike = 0.0
    if isinstance(hypothesis, tuple) and len(hypothesis) == 2:
        hypothesis, values = hypothesis
    return _from_arrays(names, hypothesis, values)


def _is_texts(hypothesis: Any) -> bool:
    return (
        isinstance(hypothesis, Sequence)
        and len(hypothesis) > 0
        and all(isinstance(part, str) for part in hypothesis)
    )


def _from_text(names: Sequence[str], hypothesis: Any) -> tuple[Array, Array]:
    # patsy's tokenizer takes "(" for a bracket where an operand may start, so the
    # name "(Intercept)" must go under another one.
    alias = "Intercept"
    while alias in names:
        alias = "_" + alias
    replaced = [alias if name == "(Intercept)" else name for name in names]
    text: Any
    if isinstance(hypothesis, str):
        text = hypothesis.replace("(Intercept)", alias)
    elif isinstance(hypothesis, Mapping):
        unknown = [name for name in hypothesis if name not in (*names, *replaced)]
        if unknown:
            raise _unknown(unknown[0], names)
        if not hypothesis:
            raise _empty(hypothesis)
        text = {k.replace("(Intercept)", alias): v for k, v in hypothesis.items()}
    else:
        text = [part.replace("(Intercept)", alias) for part in hypothesis]
    try:
        found = patsy.DesignInfo(replaced).linear_constraint(text)
    except (patsy.PatsyError, IndexError) as error:
        raise _unreadable(hypothesis, error, names) from None
    # Adding zero turns patsy's -0.0 into 0.0.
    return np.asarray(found.coefs, float), np.ravel(found.constants) + 0.0


def _from_arrays(
    names: Sequence[str], matrix: Any, values: ArrayLike
) -> tuple[Array, Array]:
    try:
        coefficients = np.atleast_2d(np.asarray(matrix, dtype=float))
        constants = np.ravel(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        raise OptionError(
            f"The hypothesis {matrix!r} is neither text nor an array of numbers.",
            "Hypotheses are texts such as 'Days = 0', or arrays with a column for "
            "each coefficient.",
        ) from None
    if coefficients.ndim != 2 or coefficients.shape[1] != len(names):
        raise OptionError(
            f"The hypothesis matrix has shape {np.shape(matrix)}.",
            f"It needs {len(names)} columns, one for each of "
            f"{', '.join(map(repr, names[:8]))}{' ...' if len(names) > 8 else ''}.",
        )
    if not len(coefficients):
        raise _empty(matrix)
    if not (np.isfinite(coefficients).all() and np.isfinite(constants).all()):
        raise OptionError(
            "The hypothesis has entries that are infinite or not a number.",
            "Expected finite coefficients.",
        )
    if constants.size not in (1, coefficients.shape[0]):
        raise OptionError(
            f"{constants.size} values stand for {coefficients.shape[0]} hypotheses.",
            "Give one value for each row of the matrix.",
        )
    return coefficients, np.broadcast_to(constants, coefficients.shape[:1]).copy()


def _empty(hypothesis: Any) -> OptionError:
    return OptionError(
        f"{hypothesis!r} states no hypothesis.",
        "Expected a text such as 'Days = 0', or a row for each hypothesis.",
    )


def square(name: str, value: Any, size: int) -> Array:
    """A matrix of a user, (size, size), finite.

    Raises
    ------
    OptionError
        If it is none.
    """
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (size, size) or not np.isfinite(found).all():
        raise OptionError(
            f"{name} is not a matrix of {size} by {size} finite numbers.",
            f"Its shape is {np.shape(found)}." if found.size else "",
        )
    return found


def _unknown(name: Any, names: Sequence[str]) -> OptionError:
    shown = ", ".join(map(repr, names[:12])) + (" ..." if len(names) > 12 else "")
    return OptionError(
        f"{name!r} is not the name of a coefficient.",
        f"The coefficients are {shown}.",
        near(name, names),
    )


def _unreadable(
    hypothesis: Any, error: patsy.PatsyError, names: Sequence[str]
) -> OptionError:
    reason = str(error).splitlines()[0]
    origin = getattr(error, "origin", None)
    word = ""
    if origin is not None:
        rest = origin.code[origin.start :]
        word = rest.split("=")[0].split(",")[0].split("+")[0].strip()
    shown = ", ".join(map(repr, names[:12])) + (" ..." if len(names) > 12 else "")
    return OptionError(
        f"The hypothesis {hypothesis!r} cannot be read ({reason}"
        + (f" at {word!r})." if word else ")."),
        f"Write equations in the coefficients {shown}, such as '{names[-1]} = 0'."
        if names
        else "The model has no fixed effects.",
        near(word, names) if word else "",
    )


def coefficient_table(
    fit: MixedFit,
    alpha: float = 0.05,
    cov_type: CovType = None,
    ddf: Denominator | None = None,
) -> pd.DataFrame:
    """Estimates, standard errors, tests and intervals of the fixed effects.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    alpha : float
        One minus the coverage of the intervals.
    cov_type : str or Sandwich, optional
        Kind of standard errors; see `covariance`.
    ddf : Denominator, optional
        Degrees of freedom of t tests, from `contrasts.denominator`.

    Returns
    -------
    DataFrame
        A row a coefficient; columns ``estimate``, ``se``, ``z``, ``p``, ``lower`` and
        ``upper``. The normal distribution is used, which ignores that theta is
        estimated: in small samples p is too small. With `ddf` the columns are those
        of `ddf.t_tests`.
    """
    alpha = check_alpha(alpha)
    if ddf is not None:
        found = t_tests(ddf, np.eye(ddf.beta.size), alpha=alpha)
        return found.set_axis(coefficient_names(fit))
    se = standard_errors(fit, cov_type)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = fit.beta / se
    half = -float(ndtri(alpha / 2)) * se
    columns = {
        "estimate": fit.beta,
        "se": se,
        "z": z,
        "p": 2 * ndtr(-np.abs(z)),
        "lower": fit.beta - half,
        "upper": fit.beta + half,
    }
    return pd.DataFrame(columns, index=coefficient_names(fit))


def covariance(fit: MixedFit, cov_type: CovType = None) -> Array:
    """Covariance of the fixed-effects estimates, shape (p, p).

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    cov_type : {"hessian", "rx"} or Sandwich, optional
        A cluster-robust covariance, of `robust.sandwich`. For a generalized
        model: from the Hessian of the log-likelihood in all
        parameters, which counts that theta is estimated (the default where it is
        positive definite); or from the working linear model at the modes, which takes
        theta as known. A linear model has one kind only.

    Raises
    ------
    OptionError
        If `cov_type` is neither.
    """
    if isinstance(cov_type, Sandwich):
        return cov_type.covariance
    if not isinstance(fit, GLMMFit):
        unscaled: Array = fit.vcov_unscaled
        return fit.sigma**2 * unscaled
    check_cov_type(cov_type)
    found = None if cov_type == "rx" else hessian_covariance(fit)
    return fit.vcov_rx if found is None else found


def hessian_covariance(fit: GLMMFit) -> Array | None:
    """Covariance from the Hessian; None where it does not give positive variances."""
    found: Array | None = fit.vcov_hessian
    if found is None or not np.isfinite(found).all():
        return None
    return found if (found.diagonal() > 0.0).all() else None


def check_cov_type(cov_type: str | None) -> None:
    """Refuse a kind of standard errors that is not known."""
    if cov_type is not None and cov_type not in COV_TYPES:
        raise OptionError(
            f"cov_type={cov_type!r} is not known.",
            f"It must be one of {', '.join(map(repr, COV_TYPES))}.",
            near(str(cov_type), COV_TYPES),
        )


def standard_errors(fit: MixedFit, cov_type: CovType = None) -> Array:
    """Standard errors of the fixed effects, shape (p,)."""
    errors: Array = np.sqrt(np.diag(covariance(fit, cov_type)))
    return errors


def correlations(fit: MixedFit, cov_type: CovType = None) -> Array:
    """Correlations of the fixed-effects estimates, shape (p, p)."""
    found = covariance(fit, cov_type)
    scale = np.sqrt(np.diag(found))
    corr: Array = found / np.outer(scale, scale)
    return corr


def term_matrices(fit: MixedFit) -> list[tuple[str, Array]]:
    """For each term of the fixed part, the matrix that picks its coefficients.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    list of (str, ndarray)
        The term's label and a matrix of shape (columns of the term, p). Columns that
        were dropped do not count; a term without columns left is not listed.
    """
    design = fit.design
    identity = np.eye(fit.kept_columns.size)
    owner = np.asarray(design.assign, dtype=int)[fit.kept_columns]
    labels = {0: "(Intercept)"} | dict(enumerate(design.term_labels, start=1))
    return [
        (label, identity[owner == number])
        for number, label in labels.items()
        if (owner == number).any()
    ]


def term_tests(
    fit: MixedFit,
    skip_single: bool = False,
    extra: Sequence[tuple[str, ArrayLike]] | None = None,
    combine: Sequence[str] | None = None,
) -> list[tuple[str, Array]]:
    """The hypotheses of a table of terms, in statsmodels' order.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    skip_single : bool
        Leave out terms of one column.
    extra : sequence of (str, array_like), optional
        Further hypotheses with their names.
    combine : sequence of str, optional
        For each text, a joint hypothesis of all terms whose label contains it.

    Returns
    -------
    list of (str, ndarray)
        Name and matrix of each hypothesis that coefficients are zero.

    Raises
    ------
    OptionError
        If no term contains a text of `combine`.
    """
    terms = term_matrices(fit)
    tests = [(k, R) for k, R in terms if not (skip_single and R.shape[0] == 1)]
    parts = [combine] if isinstance(combine, str) else combine
    for text in () if parts is None else parts:
        if not isinstance(text, str):
            raise OptionError(
                f"combine_terms holds {text!r}.", "Expected parts of terms' labels."
            )
        picked = [R for label, R in terms if text in label]
        if not picked:
            raise OptionError(
                f"combine_terms: no term's label contains {text!r}.",
                f"The terms are {', '.join(repr(label) for label, _ in terms)}.",
            )
        tests.append((text, np.vstack(picked)))
    names = coefficient_names(fit)
    pairs = [] if extra is None else extra
    for pair in pairs if isinstance(pairs, list | tuple) else [pairs]:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise OptionError(
                f"extra_constraints holds {pair!r}.",
                "Expected pairs of a name and a matrix.",
            )
        tests.append((str(pair[0]), _from_arrays(names, pair[1], 0.0)[0]))
    return tests
