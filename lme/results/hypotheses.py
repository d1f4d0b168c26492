"""Tests of the fixed effects of a result, and marginal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.contrast import (
    ContrastResults,
    MultiCompResult,
    WaldTestResults,
)
from statsmodels.stats.multitest import multipletests, multitest_alias

from lme.errors import OptionError, near
from lme.inference.hypotheses import contrasts, terms, wald
from lme.inference.hypotheses import ddf as ddf_methods
from lme.inference.marginal import means as marginal_means
from lme.inference.marginal.estimation import MarginalMeans
from lme.inference.marginal.means import MarginalOptions, MeansAndContrasts
from lme.results.contract import Contract

Array = NDArray[np.float64]


class Hypotheses(Contract):
    """Wald, t and F tests of linear hypotheses.

    Notes
    -----
    ``ddf=`` names the method for degrees of freedom, a key of `DDF_METHODS`; by
    default it is the `ddf` of the result. A covariance given as `cov_p` has no degrees
    of freedom of its own: such tests are normal, or as statsmodels does them.
    """

    @property
    def pvalues(self) -> Array:
        """Two-sided p-values of the fixed effects, by the method `ddf`."""
        method = self._denominator(self.ddf)
        found = ddf_methods.t_tests(method, np.eye(method.beta.size))
        return found["p"].to_numpy()

    def conf_int(self, alpha: float = 0.05, *, ddf: str | None = None) -> Array:
        """Wald intervals of the fixed effects, shape (p, 2).

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        ddf : str, optional
            Method for the degrees of freedom; by default `ddf` of the result.
        """
        method = self._denominator(ddf or self.ddf)
        found = ddf_methods.t_tests(method, np.eye(method.beta.size), alpha=alpha)
        return found[["lower", "upper"]].to_numpy()

    def t_test(
        self,
        r_matrix: Any,
        cov_p: ArrayLike | None = None,
        use_t: bool | None = None,
        *,
        ddf: str | None = None,
    ) -> ContrastResults:
        """Test linear hypotheses one by one.

        Parameters
        ----------
        r_matrix : str, list of str, dict, array or (array, array)
            See `wald.linear_constraint`.
        cov_p : array_like, shape (p, p), optional
            Another covariance of the estimates.
        use_t : bool, optional
            False for normal tests.
        ddf : str, optional
            Method for the degrees of freedom.
        """
        R, q = self._constraint(r_matrix)
        name = self._test_name(ddf, use_t)
        if cov_p is not None:
            cov_p = wald.square("cov_p", cov_p, R.shape[1])
        if cov_p is not None or name == "z":
            by_t = bool(use_t) and ddf is None
            return super().t_test((R, q), cov_p=cov_p, use_t=by_t)
        found = ddf_methods.t_tests(self._denominator(name), R, q)
        effect, se = found["estimate"].to_numpy(), found["se"].to_numpy()
        df = found["df"].to_numpy()
        return ContrastResults(
            effect=effect, t=found["t"].to_numpy(), sd=se, df_denom=df
        )

    def wald_test(
        self,
        r_matrix: Any,
        cov_p: ArrayLike | None = None,
        invcov: ArrayLike | None = None,
        use_f: bool | None = None,
        df_constraints: int | None = None,
        scalar: bool = True,
        *,
        ddf: str | None = None,
    ) -> ContrastResults:
        """Test linear hypotheses jointly: by F, or by chi-square with ``ddf="z"``.

        Parameters
        ----------
        r_matrix : str, list of str, dict, array or (array, array)
            See `wald.linear_constraint`.
        cov_p, invcov, df_constraints, scalar
            As in statsmodels.
        use_f : bool, optional
            False for the chi-square distribution; True for F, in a generalized model
            with ``df_resid`` in the denominator.
        ddf : str, optional
            Method for the degrees of freedom.
        """
        constraint = self._constraint(r_matrix)
        name = self._test_name(ddf, use_f)
        own = cov_p is None and invcov is None and df_constraints is None
        if own and name != "z":
            method = self._denominator(name)
            F, q, df, p = ddf_methods.f_test(method, *constraint)
            return _f_result(F if scalar else np.array([[F]]), q, df, p)
        if cov_p is not None:
            cov_p = wald.square("cov_p", cov_p, constraint[0].shape[1])
        if invcov is not None:
            invcov = wald.square("invcov", invcov, constraint[0].shape[0])
        return super().wald_test(
            constraint,
            cov_p,
            invcov,
            bool(use_f) and ddf is None,
            df_constraints,
            scalar,
        )

    def f_test(
        self,
        r_matrix: Any,
        cov_p: ArrayLike | None = None,
        invcov: ArrayLike | None = None,
        *,
        ddf: str | None = None,
    ) -> ContrastResults:
        """Test linear hypotheses jointly by F; see `wald_test`."""
        return self.wald_test(r_matrix, cov_p, invcov, use_f=True, ddf=ddf)

    def _test_name(self, ddf: str | None, wanted: bool | None) -> str:
        """Method of a test for which t or F is wanted, refused, or neither."""
        if ddf is None and wanted is False:
            return "z"
        return ddf_methods.method_name(self.fit_record, ddf or self.ddf)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, ArrayLike]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
        *,
        ddf: str | None = None,
    ) -> WaldTestResults:
        """Joint test of each term of the fixed part; see `wald.term_tests`.

        Returns
        -------
        WaldTestResults
            With the frame ``table``: ``statistic``, ``pvalue``, ``df_constraint``, and
            for F tests ``df_denom``.
        """
        tests = wald.term_tests(
            self.fit_record, skip_single, extra_constraints, combine_terms
        )
        by_f = self._test_name(ddf, None) != "z"
        found = [self.wald_test(L, scalar=scalar, ddf=ddf) for _, L in tests]
        labels = [label for label, _ in tests]
        columns: dict[str, Any] = {
            "statistic": [test.statistic for test in found],
            "pvalue": [float(np.squeeze(test.pvalue)) for test in found],
            "df_constraint": [int(t.df_num if by_f else t.df_denom) for t in found],
        }
        if by_f:
            columns["df_denom"] = [test.df_denom for test in found]
        frame = pd.DataFrame(columns, index=labels)
        return WaldTestResults(None, "F" if by_f else "chi2", None, table=frame)

    def contrast(
        self,
        L: Any,
        *,
        ddf: str | None = None,
        joint: bool = False,
        alpha: float = 0.05,
    ) -> pd.DataFrame:
        """Test combinations of the fixed effects; see `contrasts.contrast_frame`.

        Parameters
        ----------
        L : str, list of str, dict, array or (array, array)
            See `wald.linear_constraint`.
        ddf : {"satterthwaite", "kenward-roger", "containment", "residual", "z"}
            Method for the degrees of freedom, by default `ddf` of the result; a
            generalized model has "z".
        joint : bool
            One F test of all rows; otherwise a t test for each.
        alpha : float
            One minus the coverage of the intervals.
        """
        return contrasts.contrast_frame(
            self._denominator(ddf or self.ddf),
            self.model.exog_names,
            self._constraint(L),
            joint=joint,
            alpha=alpha,
        )

    def t_test_pairwise(
        self,
        term_name: str,
        method: str | list[str] = "hs",
        alpha: float = 0.05,
        factor_labels: Sequence[str] | None = None,
        *,
        ddf: str | None = None,
    ) -> MultiCompResult:
        """Differences between the coefficients of a factor's levels, all pairs.

        Parameters
        ----------
        term_name : str
            Label of a term that is one factor.
        method : str or list of str
            Corrections of p-values; see `statsmodels.stats.multitest.multipletests`.
        alpha : float
            Level of the intervals and of the decisions.
        factor_labels : sequence of str, optional
            What to call the levels.
        ddf : str, optional
            Method for the degrees of freedom.

        Returns
        -------
        MultiCompResult
            With the frame ``result_frame`` and the matrix ``contrasts``.

        See Also
        --------
        emmeans : compares means over the other factors, and knows Tukey's method.
        """
        methods = [method] if isinstance(method, str) else list(method)
        for each in methods:
            if each not in multitest_alias:
                raise OptionError(
                    f"method={each!r} is not known.",
                    f"It must be one of {', '.join(map(repr, multitest_alias))}.",
                    near(str(each), multitest_alias),
                )
        L, coding, names = terms.level_differences(
            self.fit_record, term_name, factor_labels
        )
        test = self.t_test(L, ddf=ddf)
        frame = test.summary_frame(xname=names, alpha=alpha)
        for each in methods:
            reject, adjusted = multipletests(test.pvalue, alpha, each)[:2]
            frame[f"pvalue-{each}"], frame[f"reject-{each}"] = adjusted, reject
        return MultiCompResult(
            result_frame=frame,
            contrasts=L,
            term=term_name,
            contrast_labels=names,
            term_encoding_matrix=coding,
        )

    def emmeans(
        self,
        specs: str | Sequence[str],
        *,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        type: str = "link",
        ddf: str | None = None,
        weights: str = "equal",
        level: float = 0.95,
        offset: float | None = None,
    ) -> MarginalMeans | MeansAndContrasts:
        """Estimated marginal means, as R's emmeans; see `marginal_means.emmeans`.

        Parameters
        ----------
        specs : str or sequence of str
            ``"a"``, ``["a", "b"]``, ``"~ a | b"``; ``"pairwise ~ a"`` gives means and
            contrasts.
        by : str or sequence of str, optional
            Variables whose levels form groups.
        at : mapping, optional
            Values of numbers, by default their means, and levels of factors, by
            default all.
        type : {"link", "response"}
            Scale of the linear predictor, or of the response.
        ddf : str, optional
            Method for the degrees of freedom; by default `ddf` of the result.
        weights : {"equal", "proportional", "outer", "cells", "flat"}
            How the levels of other factors are averaged.
        level : float
            Coverage of intervals.
        offset : float, optional
            In place of the mean offset of the data.
        """
        options = MarginalOptions(by, at, type, weights, level, offset)
        method = self._denominator(ddf or self.ddf)
        return marginal_means.emmeans(self.fit_record, specs, method, options)

    def emtrends(
        self,
        specs: str | Sequence[str],
        var: str,
        *,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        type: str = "link",
        ddf: str | None = None,
        weights: str = "equal",
        level: float = 0.95,
        offset: float | None = None,
    ) -> MarginalMeans | MeansAndContrasts:
        """Slopes of the numeric variable `var`, averaged as the means of `emmeans`.

        Parameters
        ----------
        specs, by, at, type, ddf, weights, level, offset
            As in `emmeans`; an empty list of `specs` gives the average slope.
        var : str
            A numeric variable of the fixed part.
        """
        options = MarginalOptions(by, at, type, weights, level, offset)
        method = self._denominator(ddf or self.ddf)
        return marginal_means.emtrends(self.fit_record, specs, var, method, options)


def _f_result(F: Any, q: int, df: float, p: float) -> ContrastResults:
    """An F test as a record of statsmodels, right for infinitely many df too."""
    found = ContrastResults(F=F, df_denom=df, df_num=q)
    found.pvalue = np.asarray(p)
    return found
