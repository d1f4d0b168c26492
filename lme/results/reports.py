"""A result as text and tables."""

from __future__ import annotations

from lme.inference import ddf as ddf_methods
from lme.report import summary as reports
from lme.report.tables import Report
from lme.results.contract import Contract


class Reports(Contract):
    """Summary, and what is shown at the prompt and in a notebook."""

    def summary(
        self,
        *,
        alpha: float = 0.05,
        correlation: bool | None = None,
        digits: int = 4,
        ddf: str | None = None,
    ) -> Report:
        """The fit in sections, as a statsmodels ``Summary``; see `lme.report`.

        `ddf` is as in `contrast`: with "z" tests are normal, otherwise by t. By
        default it is that of the result, and the p-values are those of `pvalues`.
        """
        name = ddf_methods.method_name(self.fit_record, ddf or self.ddf)
        warnings = [str(warning) for warning in self.warnings]
        if ddf is None and ddf_methods.is_too_large(self.fit_record, self.ddf):
            warnings.append(reports.NO_DDF)
        return reports.summarize(
            self.fit_record,
            cov_type=self._cov_type(),
            data_name=self.model.data_name,
            alpha=alpha,
            correlation=correlation,
            digits=digits,
            quantiles=self._quantiles(),
            warnings=warnings,
            ddf=self._denominator(name),
        )

    def __repr__(self) -> str:
        method = self._denominator(self.ddf)
        return reports.short_text(self.fit_record, self._cov_type(), method)

    def _repr_html_(self) -> str:
        method = self._denominator(self.ddf)
        return reports.short_html(self.fit_record, self._cov_type(), method)
