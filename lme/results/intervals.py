"""Confidence intervals of every parameter of a result."""

from __future__ import annotations

from lme.results.contract import Contract


class Intervals(Contract):
    """Profiles and intervals."""
