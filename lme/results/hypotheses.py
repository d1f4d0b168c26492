"""Tests of the fixed effects of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

from lme.errors import FitError
from lme.inference import contrasts, wald
from lme.results.contract import Contract


class Hypotheses(Contract):
    """Wald, t and F tests of linear hypotheses."""

    def t_test(self, r_matrix: Any, *args: Any, **kwargs: Any) -> ContrastResults:
        """Test linear hypotheses one by one; see `wald.linear_constraint`."""
        return super().t_test(self._constraint(r_matrix), *args, **kwargs)

    def wald_test(self, r_matrix: Any, *args: Any, **kwargs: Any) -> ContrastResults:
        """Test linear hypotheses jointly; see `wald.linear_constraint`.

        ``f_test`` is this test with the F distribution, `df_resid` in the denominator.
        """
        return super().wald_test(self._constraint(r_matrix), *args, **kwargs)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, ArrayLike]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> WaldTestResults:
        """Joint Wald test of each term of the fixed part; see `wald.term_tests`.

        Returns
        -------
        WaldTestResults
            With the frame ``table``: ``statistic``, ``pvalue``, ``df_constraint``.
        """
        tests = wald.term_tests(
            self.fit_record, skip_single, extra_constraints, combine_terms
        )
        found = [self.wald_test(matrix, scalar=scalar) for _, matrix in tests]
        frame = pd.DataFrame(
            [(test.statistic, test.pvalue, int(test.df_denom)) for test in found],
            index=[label for label, _ in tests],
            columns=["statistic", "pvalue", "df_constraint"],
        )
        return WaldTestResults(None, "chi2", None, table=frame)

    def contrast(
        self,
        L: Any,
        *,
        ddf: str = "satterthwaite",
        joint: bool = False,
        alpha: float = 0.05,
    ) -> pd.DataFrame:
        """Test combinations of the fixed effects; see `contrasts.contrast_frame`.

        Parameters
        ----------
        L : str, list of str, dict, array or (array, array)
            See `wald.linear_constraint`.
        ddf : {"satterthwaite", "kenward-roger", "containment", "residual", "z"}
            Method for the degrees of freedom; a generalized model has "z".
        joint : bool
            One F test of all rows; otherwise a t test for each.
        alpha : float
            One minus the coverage of the intervals.
        """
        return contrasts.contrast_frame(
            self._denominator(ddf),
            self.model.exog_names,
            self._constraint(L),
            joint=joint,
            alpha=alpha,
        )

    def t_test_pairwise(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: it needs a patsy design. Use `t_test` with contrasts."""
        raise FitError(
            "t_test_pairwise is not available: it reads factors from patsy.",
            remedy="Test differences by name, such as t_test('fb - fc = 0').",
        )
