"""Simulation from a result, and the bootstrap."""

from __future__ import annotations

from typing import Any

from lme.errors import FitError
from lme.results.contract import Contract


class Resampling(Contract):
    """New responses from the fitted model."""

    def bootstrap(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: the base class would draw rows, which are dependent here."""
        raise FitError(
            "bootstrap is not available: drawing rows would break up the groups."
        )
