"""Confidence intervals of every parameter of a result."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lme.inference.profile import intervals, profiling
from lme.inference.profile.profiles import Profile
from lme.results.contract import Contract


class Intervals(Contract):
    """Profiles and intervals."""

    def confint(
        self,
        level: float = 0.95,
        method: str = "profile",
        parm: Any = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Confidence intervals of all parameters; see `profile.intervals`.

        statsmodels' ``conf_int(alpha)`` has the fixed effects alone.
        """
        self._need_data("confint", rows=str(method).lower().startswith("boot"))
        return intervals.confint(
            self.fit_record,
            level,
            method,
            parm,
            cov_type=self._cov_type() if str(method).lower() == "wald" else None,
            **options,
        )

    def profile(self, parm: Any = None, **options: Any) -> Profile:
        """Profiles of the deviance over parameters; see `profile.profiling`."""
        self._need_data("profile", rows=False)
        return profiling.profile(self.fit_record, parm, **options)
