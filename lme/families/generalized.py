"""Which families make a generalized linear mixed model."""

from __future__ import annotations

from lme.errors import OptionError
from lme.families.base import Family
from lme.families.table import FAMILIES, resolve


def generalized_family(family: object, link: object) -> Family:
    """The family that was asked for, which may not be that of a linear model.

    Raises
    ------
    OptionError
        Without a family, for unknown ones, and for a linear model.
    """
    if family is None:
        raise OptionError(
            "glmer needs a family.",
            f"Expected one of {', '.join(FAMILIES)}.",
            "For normal responses use lmer.",
        )
    found = resolve(family, link)
    if is_linear(found):
        raise OptionError(
            "A gaussian family with the identity link is a linear mixed model.",
            "A GLMM has another family or link.",
            "Use lmer(..., REML=False).",
        )
    return found


def is_linear(family: Family) -> bool:
    """Whether the model is a linear mixed model."""
    return family.name == "gaussian" and family.link.name == "identity"
