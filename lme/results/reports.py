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
        ddf: str = "z",
    ) -> Report:
        """The fit in sections, as a statsmodels ``Summary``; see `lme.report`.

        `ddf` is as in `contrast`: with "z" tests are normal, otherwise by t.
        """
        name = ddf_methods.method_name(self.fit_record, ddf)
        return reports.summarize(
            self.fit_record,
            cov_type=self._cov_type(),
            data_name=self.model.data_name,
            alpha=alpha,
            correlation=correlation,
            digits=digits,
            quantiles=self._quantiles(),
            warnings=[str(warning) for warning in self.warnings],
            ddf=None if name == "z" else self._denominator(name),
        )

    def __repr__(self) -> str:
        return reports.short_text(self.fit_record, self._cov_type())

    def _repr_html_(self) -> str:
        return reports.short_html(self.fit_record, self._cov_type())
