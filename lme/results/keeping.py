"""What is kept of a result."""

from __future__ import annotations

from lme.inference import estimates
from lme.results.contract import Contract


class Keeping(Contract):
    """Removing data and storing fits."""

    def remove_data(self) -> None:
        """Drop everything that has a value a row, for small pickles.

        Estimates, tests, `ranef`, `coef` and `summary` still work; what needs the
        rows raises `FitError`. The model that was fitted keeps its data: the result
        gets a copy without them.
        """
        if self._is_light:
            return
        self._quantiles()
        self._denominator(self.ddf)
        self.fit_record = estimates.without_rows(self.fit_record)
        self.model = self.model.without_rows(self.fit_record.design)
