"""Likelihood-ratio comparison of models fitted to the same data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from lme.errors import FitError, OptionError
from lme.fit import Fit, fit_lmm
from lme.generalized import GLMMFit
from lme.inference.estimates import aic, bic, log_likelihood, parameter_count
from lme.inference.text import html_table, numbers, p_value, table
from lme.inference.working import MixedFit

if TYPE_CHECKING:
    from lme.formula.design import Design

COLUMNS = [
    "npar",
    "AIC",
    "BIC",
    "logLik",
    "-2*log(L)",
    "Chisq",
    "Df",
    "Pr(>Chisq)",
]
REFITTED = "Models fitted by REML were refitted by maximum likelihood."
BOUNDARY = (
    "A variance is tested at the edge of its range: the chi-squared p-value is "
    "conservative. For one added variance, half of it is right asymptotically."
)
WORSE = (
    "A model with more parameters has a lower likelihood, so the models are not "
    "nested (or a search stopped early): no test is given for it."
)
MIXED_CRITERIA = (
    "REML criteria of models with different fixed effects are not comparable."
)
APPROXIMATIONS = (
    "The likelihoods were approximated in different ways ({}): part of a difference "
    "between them is error of the approximation."
)
# A deficit that rounding and the stopping rule of a search can explain.
TOLERANCE = 1e-4


@dataclass(frozen=True, repr=False)
class Comparison:
    """A table of likelihood-ratio tests between successive models.

    Attributes
    ----------
    table : DataFrame
        A row a model, by increasing number of parameters; columns ``npar``, ``AIC``,
        ``BIC``, ``logLik``, ``-2*log(L)``, ``Chisq``, ``Df`` and ``Pr(>Chisq)``. Each
        test is against the row above.
    formulas : tuple of str
        The models' formulas, in the order of the rows.
    data : str
        Name of the data where it is known, else empty.
    notes : tuple of str
        What a reader of the table has to know.
    """

    table: pd.DataFrame
    formulas: tuple[str, ...]
    data: str = ""
    notes: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> pd.Series:
        return self.table[column]

    def to_frame(self) -> pd.DataFrame:
        """A copy of the table."""
        return self.table.copy()

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        columns = [
            [str(value) for value in self.table["npar"]],
            *(numbers(self.table[name], 5) for name in COLUMNS[1:5]),
            numbers(self.table["Chisq"], 4),
            ["" if math.isnan(df) else f"{df:.0f}" for df in self.table["Df"]],
            [p_value(p) for p in self.table["Pr(>Chisq)"]],
        ]
        names = [str(name) for name in self.table.index]
        return ["", *COLUMNS], [list(row) for row in zip(names, *columns, strict=True)]

    def __repr__(self) -> str:
        header, rows = self._cells()
        lines = [f"Data: {self.data}"] if self.data else []
        lines.append("Models:")
        lines += [
            f"{name}: {formula}"
            for name, formula in zip(self.table.index, self.formulas, strict=True)
        ]
        lines.append(table(rows, header, left=(0,)))
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        header, rows = self._cells()
        return html_table(rows, header) + "".join(
            f"<p>{note}</p>" for note in self.notes
        )


def anova(
    *results: Any, refit: bool = True, names: Sequence[str] | None = None
) -> Comparison:
    """Compare fitted models by likelihood-ratio tests.

    Parameters
    ----------
    *results : LMMResults or GLMMResults
        Two or more fits to the same data, of one family and link.
    refit : bool
        Refit models fitted by REML by maximum likelihood first.
    names : sequence of str, optional
        Names of the rows, in the order of `results`.

    Returns
    -------
    Comparison
        Columns ``npar``, ``AIC``, ``BIC``, ``logLik``, ``-2*log(L)``, ``Chisq``, ``Df``
        and ``Pr(>Chisq)``; rows by increasing number of parameters.

    Raises
    ------
    FitError
        If the models were fitted to different rows, responses or weights, or differ in
        family or link; and where coefficients from PIRLS (``nAGQ=0``) would be
        compared with others.
    OptionError
        If an argument is not a result, or there are fewer than two.

    See Also
    --------
    compare : The same for `Fit` records.

    Examples
    --------
    >>> import lme
    >>> pastes = lme.datasets.load("Pastes")
    >>> small = lme.lmer("strength ~ 1 + (1 | sample)", pastes).fit()
    >>> large = lme.lmer("strength ~ 1 + (1 | sample) + (1 | batch)", pastes).fit()
    >>> lme.anova(small, large, names=["small", "large"])["Pr(>Chisq)"].round(5)
    small        NaN
    large    0.52338
    Name: Pr(>Chisq), dtype: float64
    """
    fits = []
    for result in results:
        record = getattr(result, "fit_record", None)
        if not isinstance(record, (Fit, GLMMFit)):
            raise OptionError(
                f"An argument is a {type(result).__name__}.",
                "anova compares results of lme models.",
                "Pass what fit() returned; fit first, where you have a model.",
            )
        fits.append(record)
    known = {result.model.data_name for result in results}
    return compare(
        fits, names, refit=refit, data=known.pop() if len(known) == 1 else ""
    )


def compare(
    fits: Sequence[MixedFit],
    names: Sequence[str] | None = None,
    *,
    refit: bool = True,
    data: str = "",
) -> Comparison:
    """Likelihood-ratio tests between models, each against the next smaller one.

    Parameters
    ----------
    fits : sequence of Fit or GLMMFit
        Two or more models of the same response and rows.
    names : sequence of str, optional
        Row names; by default ``MODEL1``, ``MODEL2`` in the order given.
    refit : bool
        Refit models fitted by REML by maximum likelihood first.
    data : str
        Name of the data, for the header.

    Returns
    -------
    Comparison
        Rows sorted by the number of parameters.

    Raises
    ------
    FitError
        If the models differ in rows, response, prior weights, family or link, if
        ``refit=False`` would mix REML and ML fits, or if only some of them have
        coefficients from PIRLS (``nAGQ=0``).
    OptionError
        If there are fewer than two models, or the names do not match.

    Notes
    -----
    ``Chisq = 2 (logLik_1 - logLik_0)`` with ``Df`` the difference in parameters. Two
    models of one size have no test. Whether the smaller model is nested in the
    larger one is not checked beyond that its likelihood may not be higher.

    Likelihoods are absolute for every number of quadrature nodes, so fits with
    different ``nAGQ`` compare, with a note. With ``nAGQ = 0`` the likelihood is not at
    its maximum over the coefficients, so these compare with one another only.
    """
    fits = list(fits)
    labels = _labels(names, len(fits))
    for other in fits[1:]:
        _check_comparable(fits[0].design, other.design)
        _check_family(fits[0], other)
    notes = []
    if refit and any(fit.reml for fit in fits):
        notes.append(REFITTED)
        fits = [fit_lmm(fit.design, reml=False) if fit.reml else fit for fit in fits]
    elif len({fit.reml for fit in fits}) > 1:
        raise FitError(
            "Some models were fitted by REML and some by maximum likelihood.",
            "All must be fitted by the same criterion.",
            "Use refit=True.",
        )
    elif fits[0].reml and not _same_fixed_part(fits):
        notes.append(MIXED_CRITERIA)
    order = sorted(range(len(fits)), key=lambda i: parameter_count(fits[i]))
    fits = [fits[i] for i in order]
    frame = _table(fits, [labels[i] for i in order])
    kinds = list(dict.fromkeys(map(_approximation, fits)))
    if len(kinds) > 1:
        notes.append(APPROXIMATIONS.format(", ".join(kinds)))
    if any(b.theta.size > a.theta.size for a, b in pairwise(fits)):
        notes.append(BOUNDARY)
    if (frame["Chisq"] < 0).any():
        notes.append(WORSE)
    formulas = tuple(fit.design.expanded for fit in fits)
    return Comparison(frame, formulas, data, tuple(notes))


def _labels(names: Sequence[str] | None, count: int) -> list[str]:
    if count < 2:
        raise OptionError(
            f"There {'is 1 model' if count == 1 else 'are no models'} to compare.",
            "A comparison needs two or more fitted models.",
        )
    if names is None:
        return [f"MODEL{i + 1}" for i in range(count)]
    if isinstance(names, str) or len(names) != count or len(set(names)) != count:
        raise OptionError(
            f"names={names!r} does not name {count} models.",
            f"It must be a list of {count} different names.",
        )
    return [str(name) for name in names]


def _check_comparable(first: Design, other: Design) -> None:
    if first.y.size < len(first.index) or other.y.size < len(other.index):
        raise FitError(
            "The data of a result were taken away by remove_data.",
            "A comparison looks at the responses, and may refit.",
            "Fit the model again.",
        )
    remedy = "Fit all models to the same rows; drop rows with missing values first."
    if first.y.size != other.y.size:
        raise FitError(
            f"The models were fitted to {first.y.size} and {other.y.size} rows.",
            "All must be fitted to the same data.",
            remedy,
        )
    if not np.array_equal(first.y, other.y):
        both = {first.y_name, other.y_name}
        named = f" ({' and '.join(sorted(both))})" if len(both) > 1 else ""
        raise FitError(
            f"The models have different responses{named}.",
            "All must be fitted to the same values of the same response.",
            "Compare only models of one response on one scale.",
        )
    if not _equal_weights(first, other):
        raise FitError(
            "The models have different prior weights.",
            "All must be fitted with the same weights.",
            "Fit the models with the same weights=.",
        )


def _check_family(first: MixedFit, other: MixedFit) -> None:
    names = [_family(first), _family(other)]
    if names[0] != names[1]:
        raise FitError(
            f"The models have different families or links: {' and '.join(names)}.",
            "Only models of one family and link differ by their terms alone.",
            "Fit all with the same family= and link=; AIC compares any of them.",
        )
    fast = [isinstance(fit, GLMMFit) and fit.nAGQ == 0 for fit in (first, other)]
    if fast[0] != fast[1]:
        raise FitError(
            "Only some of the models were fitted with nAGQ=0.",
            "Their likelihoods are not at the maximum over the coefficients.",
            "Fit all with the same nAGQ.",
        )


def _family(fit: MixedFit) -> str:
    if not isinstance(fit, GLMMFit):
        return "gaussian(identity)"
    # A Bernoulli response is a binomial one of one trial.
    name = fit.family.name
    plain = name == "bernoulli" and fit.design.weights is None
    return f"{'binomial' if plain else name}({fit.family.link.name})"


def _approximation(fit: MixedFit) -> str:
    if not isinstance(fit, GLMMFit):
        return ""
    if fit.nAGQ > 1:
        return f"nAGQ={fit.nAGQ}"
    # Kinds of information coincide where the link is canonical.
    return "Laplace" + (", observed" if _is_observed(fit) else "")


def _is_observed(fit: GLMMFit) -> bool:
    return fit.laplace == "observed" and not fit.family.canonical


def _equal_weights(first: Design, other: Design) -> bool:
    ones = np.ones(first.y.size)
    pair = [ones if d.weights is None else d.weights for d in (first, other)]
    return bool(np.array_equal(pair[0], pair[1]))


def _same_fixed_part(fits: Sequence[MixedFit]) -> bool:
    return all(
        fit.X.shape == fits[0].X.shape and np.allclose(fit.X, fits[0].X)
        for fit in fits[1:]
    )


def _table(fits: Sequence[MixedFit], labels: Sequence[str]) -> pd.DataFrame:
    rows = []
    previous: MixedFit | None = None
    for fit in fits:
        chisq = df = p = math.nan
        if previous is not None:
            df = parameter_count(fit) - parameter_count(previous)
            chisq = previous.objective - fit.objective
            if df == 0 or -TOLERANCE < chisq < 0:
                chisq = max(chisq, 0.0)
            if df > 0 and chisq >= 0:
                p = float(chdtrc(df, chisq))
        rows.append(
            (
                parameter_count(fit),
                aic(fit),
                bic(fit),
                log_likelihood(fit),
                fit.objective,
                chisq,
                df,
                p,
            )
        )
        previous = fit
    return pd.DataFrame(rows, index=list(labels), columns=COLUMNS)
