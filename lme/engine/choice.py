"""Which kernel factors a model."""

from __future__ import annotations

from lme.engine.blocked import Blocked
from lme.engine.crossproducts import CrossProducts
from lme.engine.kernel import Kernel


def choose(cross: CrossProducts, name: str = "auto") -> tuple[Kernel, str]:
    """A kernel for the cross-products, and advice where another would gain."""
    return Blocked(cross), ""
