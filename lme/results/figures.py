"""A result as figures; matplotlib is loaded with the first one."""

from __future__ import annotations

from lme.results.contract import Contract


class Figures(Contract):
    """Figures of a result."""
