"""A result beside smaller models."""

from __future__ import annotations

from typing import Any

from lme.inference.comparison import conditional_aic, deletion, variance_deletion
from lme.results.contract import Contract


class Comparisons(Contract):
    """Tests of terms by refitted models, and a criterion for predictions."""

    def drop1(
        self,
        *,
        ddf: str | None = None,
        test: str = "chisq",
        nsim: int | None = None,
        seed: Any = None,
    ) -> deletion.Deletions:
        """Test each fixed-effects term by leaving it out, as R's ``drop1``.

        Parameters
        ----------
        ddf : str, optional
            F tests with these degrees of freedom, such as "satterthwaite", in place of
            likelihood ratios; see `lme.inference.hypotheses.ddf`.
        test, nsim, seed
            Null distribution of the likelihood ratios; see `deletion.drop1`.
        """
        self._need_data("drop1")
        if ddf is not None:
            return deletion.drop1_f(self.fit_record, self._denominator(ddf))
        return deletion.drop1(self.fit_record, test=test, nsim=nsim, seed=seed)

    def ranova(
        self,
        *,
        reduce_terms: bool = True,
        test: str = "chisq",
        nsim: int | None = None,
        seed: Any = None,
    ) -> deletion.Deletions:
        """Test each random-effects term by reducing it; see `variance_deletion`."""
        self._need_data("ranova")
        return variance_deletion.ranova(
            self.fit_record,
            reduce_terms=reduce_terms,
            test=test,
            nsim=nsim,
            seed=seed,
        )

    def caic(self, *, refit: bool = False) -> conditional_aic.ConditionalAIC:
        """Conditional AIC, for predictions of the groups at hand.

        See `conditional_aic.conditional_aic`.
        """
        self._need_data("caic")
        return conditional_aic.conditional_aic(self.fit_record, refit=refit)
