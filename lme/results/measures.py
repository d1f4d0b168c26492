"""Single numbers that describe a result."""

from __future__ import annotations

from lme.results.contract import Contract


class Measures(Contract):
    """Explained variance, correlation within groups, collinearity."""
