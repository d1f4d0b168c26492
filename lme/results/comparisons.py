"""A result beside smaller models."""

from __future__ import annotations

from lme.results.contract import Contract


class Comparisons(Contract):
    """Tests of terms by refitted models."""
