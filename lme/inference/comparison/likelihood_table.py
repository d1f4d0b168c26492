"""Likelihood-ratio comparison of models fitted to the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import FitError, OptionError, near
from lme.generalized import GLMMFit
from lme.inference.comparison.candidates import (
    Candidate,
    candidate,
    least_squares,
    refitted,
)
from lme.inference.comparison.comparability import (
    incomparable,
    on_the_same_rows,
    refuse_resampling,
)
from lme.inference.comparison.likelihood_ratios import (
    CHIBAR,
    CHISQ,
    Method,
    RatioTest,
    method_lines,
    method_of,
    ratio_test,
    reader_notes,
)
from lme.inference.comparison.nesting import nesting, outside
from lme.inference.hypotheses.tables_of_tests import TableOfTests
from lme.inference.working import MixedFit

COLUMNS = ["npar", "AIC", "BIC", "logLik", "-2*log(L)", "Chisq", "Df", CHISQ]
CHECKS = ("stop", "note", "ignore")
REFITTED = "Models fitted by REML were refitted by maximum likelihood."
NOT_NESTED = "No test of {} against {}: {}."
UNCHECKED = "Whether each model is nested in the next was not checked."
RESTRICTED = (
    "the REML criteria of models with different fixed effects are not comparable"
)
APPROXIMATIONS = (
    "The likelihoods were approximated in different ways ({}): part of a difference "
    "between them is error of the approximation."
)


@dataclass(frozen=True, repr=False)
class Comparison(TableOfTests):
    """A table of likelihood-ratio tests between successive models.

    Attributes
    ----------
    table : DataFrame
        A row a model, by increasing number of parameters; columns ``npar``, ``AIC``,
        ``BIC``, ``logLik``, ``-2*log(L)``, ``Chisq``, ``Df`` and ``Pr(>Chisq)``. Each
        test is against the row above. Where a variance is tested on its boundary
        there is ``Pr(>Chibarsq)`` too; ``Pr(boot)`` or ``Pr(exact)`` where asked for.
    methods : tuple of str
        How each column of p-values was computed.
    notes : tuple of str
        What a reader of the table has to know.
    formulas : tuple of str
        The models' formulas, in the order of the rows.
    data : str
        Name of the data where it is known, else empty.
    """

    formulas: tuple[str, ...] = ()
    data: str = ""

    def heading(self) -> list[str]:
        """Lines above the table: data, names and formulas."""
        lines = [f"Data: {self.data}"] if self.data else []
        lines.append("Models:")
        return lines + [
            f"{name}: {formula}"
            for name, formula in zip(self.table.index, self.formulas, strict=True)
        ]


def anova(
    *results: Any,
    refit: bool = True,
    names: Sequence[str] | None = None,
    test: str = "chisq",
    nsim: int | None = None,
    seed: Any = None,
    check: str = "stop",
) -> Comparison:
    """Compare fitted models by likelihood-ratio tests.

    Parameters
    ----------
    *results : LMMResults, GLMMResults, or results of statsmodels
        Two or more fits to the same data, of one family and link. Results of ``OLS``,
        ``WLS``, ``GLM``, ``Logit``, ``Probit`` and ``Poisson`` of statsmodels take part
        as models without random effects.
    refit : bool
        Refit models fitted by REML by maximum likelihood first.
    names : sequence of str, optional
        Names of the rows, in the order of `results`; by default ``MODEL1``, ....
    test : {"chisq", "boot", "exact"}
        Null distribution. "chisq" is the one of large samples, with the mixture where
        a variance is on its boundary. "boot" adds a parametric bootstrap. "exact" adds
        the distribution in finite samples, where one variance of a linear model is
        tested.
    nsim : int, optional
        Draws of "boot" (default 1000) or "exact" (default 10000).
    seed : int or Generator, optional
        Of these draws.
    check : {"stop", "note", "ignore"}
        What to do with models that are not nested: refuse; leave out the test, say
        why, and keep the information criteria; or test without looking.

    Returns
    -------
    Comparison
        Columns ``npar``, ``AIC``, ``BIC``, ``logLik``, ``-2*log(L)``, ``Chisq``, ``Df``
        and ``Pr(>Chisq)``; rows by increasing number of parameters.

    Raises
    ------
    FitError
        If the models were fitted to different rows, responses or weights, differ in
        family or link, or are not nested; and where coefficients from PIRLS
        (``nAGQ=0``) would be compared with others.
    OptionError
        If an argument is not a result, or there are fewer than two.

    See Also
    --------
    lme.inference.comparison.likelihood_table.compare : The same for `Fit` records.

    Examples
    --------
    >>> import lme
    >>> pastes = lme.datasets.load("Pastes")
    >>> small = lme.lmer("strength ~ 1 + (1 | sample)", pastes).fit()
    >>> large = lme.lmer("strength ~ 1 + (1 | sample) + (1 | batch)", pastes).fit()
    >>> table = lme.anova(small, large, names=["small", "large"])
    >>> table[["Chisq", "Pr(>Chisq)", "Pr(>Chibarsq)"]].round(5)
            Chisq  Pr(>Chisq)  Pr(>Chibarsq)
    small     NaN         NaN            NaN
    large  0.40723     0.52338        0.26169
    """
    found = [candidate(result) for result in results]
    known = {_data_name(result) for result in results} - {None}
    return _compared(
        found,
        names,
        refit=refit,
        data=str(known.pop()) if len(known) == 1 else "",
        method=method_of(test, nsim, seed),
        check=check,
    )


def _data_name(result: Any) -> str | None:
    """Name of the data of a result; None where a model has none by its kind."""
    return getattr(getattr(result, "model", None), "data_name", None)


def compare(
    fits: Sequence[MixedFit],
    names: Sequence[str] | None = None,
    *,
    refit: bool = True,
    data: str = "",
    test: str = "chisq",
    nsim: int | None = None,
    seed: Any = None,
    check: str = "stop",
) -> Comparison:
    """Likelihood-ratio tests between models, each against the next smaller one.

    Parameters
    ----------
    fits : sequence of Fit or GLMMFit
        Two or more models of the same response and rows.
    data : str
        Name of the data, for the header.
    names, refit, test, nsim, seed, check
        See `anova`.

    Returns
    -------
    Comparison
        Rows sorted by the number of parameters.

    Raises
    ------
    FitError, OptionError
        See `anova`.

    Notes
    -----
    ``Chisq = 2 (logLik_1 - logLik_0)`` with ``Df`` the difference in parameters. Two
    models of one size have no test. See `nesting` for what is checked, `boundary`,
    `exact_null` and `resampled_null` for the null distributions.

    Likelihoods are absolute for every number of quadrature nodes, so fits with
    different ``nAGQ`` compare, with a note. With ``nAGQ = 0`` the likelihood is not at
    its maximum over the coefficients, so these compare with one another only.
    """
    return _compared(
        [candidate(fit) for fit in fits],
        names,
        refit=refit,
        data=data,
        method=method_of(test, nsim, seed),
        check=check,
    )


def _compared(
    models: list[Candidate],
    names: Sequence[str] | None,
    *,
    refit: bool,
    data: str,
    method: Method,
    check: str,
) -> Comparison:
    if check not in CHECKS:
        raise OptionError(
            f"check={check!r} is not known.",
            f"It must be one of {', '.join(map(repr, CHECKS))}.",
            near(str(check), CHECKS),
        )
    labels = _labels(names, len(models))
    refuse_resampling(models, method.name)
    models = on_the_same_rows(models)
    for other in models[1:]:
        wrong = incomparable(models[0], other) or _fast_and_not(models[0], other)
        if wrong is not None:
            raise wrong
    notes = []
    if refit and any(one.reml for one in models):
        notes.append(REFITTED)
        models = on_the_same_rows([refitted(one) for one in models])
    elif any(one.reml for one in models):
        models = [
            one if one.components else least_squares(one, reml=True) for one in models
        ]
        if not all(one.reml for one in models):
            raise FitError(
                "Some models were fitted by REML and some by maximum likelihood.",
                "All must be fitted by the same criterion.",
                "Use refit=True.",
            )
    order = sorted(range(len(models)), key=lambda i: models[i].npar)
    models, labels = [models[i] for i in order], [labels[i] for i in order]
    tests = []
    for (small, a), (large, b) in pairwise(zip(models, labels, strict=True)):
        found, why = _tested(small, large, method, check)
        if why:
            notes.append(NOT_NESTED.format(a, b, why))
        tests.append(found)
    if check == "ignore":
        notes.append(UNCHECKED)
    kinds = [kind for kind in dict.fromkeys(map(_approximation, models)) if kind]
    if len(kinds) > 1:
        notes.append(APPROXIMATIONS.format(", ".join(kinds)))
    return Comparison(
        _table(models, tests, labels, method),
        tuple(method_lines(labels[1:], tests, method, models[0].reml)),
        (*notes, *reader_notes(tests)),
        tuple(one.formula for one in models),
        data,
    )


def _tested(
    small: Candidate, large: Candidate, method: Method, check: str
) -> tuple[RatioTest, str]:
    """The test of two successive models, or why there is none."""
    nested = nesting(small, large)
    why = nested.reason
    if not why and small.reml and outside(small.X, large.X).size:
        why = RESTRICTED
    if not why and small.reml and not np.allclose(small.X, large.X):
        why = "their fixed effects are coded differently, which REML criteria show"
    if not why:
        return ratio_test(small, large, nested, method), ""
    if check == "note":
        return RatioTest(df=large.npar - small.npar), why
    if check == "ignore":
        # What the models have in common is not known.
        plain = replace(method, name="chisq")
        return ratio_test(small, large, nested, plain), ""
    if small.reml and not nested.reason:
        raise FitError(
            f"There is no test with refit=False: {why}.",
            "REML compares models that differ by their random effects alone.",
            "Use refit=True.",
        )
    raise FitError(
        f"The models are not nested: {why}.",
        "A likelihood-ratio test needs a smaller model that is a special case of the "
        "larger one.",
        "Compare them by AIC or BIC: check='note' gives the table without the test.",
    )


def _labels(names: Sequence[str] | None, count: int) -> list[str]:
    if count < 2:
        raise OptionError(
            f"There {'is 1 model' if count == 1 else 'are no models'} to compare.",
            "A comparison needs two or more fitted models.",
            "For tests of the terms of one model use result.anova().",
        )
    if names is None:
        return [f"MODEL{i + 1}" for i in range(count)]
    if isinstance(names, str) or len(names) != count or len(set(names)) != count:
        raise OptionError(
            f"names={names!r} does not name {count} models.",
            f"It must be a list of {count} different names.",
        )
    return [str(name) for name in names]


def _fast_and_not(first: Candidate, other: Candidate) -> FitError | None:
    """Fits whose coefficients come from PIRLS beside others."""
    mixed = [c.fit for c in (first, other) if isinstance(c.fit, GLMMFit)]
    if len({fit.nAGQ == 0 for fit in mixed}) < 2:
        return None
    return FitError(
        "Only some of the models were fitted with nAGQ=0.",
        "Their likelihoods are not at the maximum over the coefficients.",
        "Fit all with the same nAGQ.",
    )


def _approximation(one: Candidate) -> str:
    fit = one.fit
    if not isinstance(fit, GLMMFit):
        return ""
    if fit.nAGQ > 1:
        return f"nAGQ={fit.nAGQ}"
    # Kinds of information coincide where the link is canonical.
    observed = fit.laplace == "observed" and not fit.family.canonical
    return "Laplace" + (", observed" if observed else "")


def _table(
    models: Sequence[Candidate],
    tests: Sequence[RatioTest],
    labels: Sequence[str],
    method: Method,
) -> pd.DataFrame:
    every = [RatioTest(), *tests]
    frame = pd.DataFrame(
        [
            (
                m.npar,
                m.aic,
                m.bic,
                -m.objective / 2,
                m.objective,
                t.statistic,
                t.df,
                t.p,
            )
            for m, t in zip(models, every, strict=True)
        ],
        index=list(labels),
        columns=COLUMNS,
    )
    if any(test.mixture for test in tests):
        frame[CHIBAR] = [test.p_mixture for test in every]
    if method.column:
        frame[method.column] = [test.simulated for test in every]
    return frame
