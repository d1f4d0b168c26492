"""Checks that a design can be estimated, each with a severity of its own.

The conditions are those of lme4's ``lmerControl``; the wording is ours. A check is a
row of `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lme.errors import DataWarning, DesignError, OptionError, near
from lme.formula.design import Design, RandomTerm

Message = tuple[str, str, str]
SEVERITIES = ("ignore", "warn", "stop")
SCALE_RATIO = 1e3
FEW_LEVELS = 5


def _one_level(design: Design) -> Message | None:
    groups = [t.group for t in design.terms if len(t.levels) < 2]
    if not groups:
        return None
    return (
        f"The grouping factor {groups[0]!r} has {_count(design, groups[0])} in the "
        "rows used.",
        "A grouping factor needs at least two levels for a variance between them.",
        "Leave its random effects out, or look for rows lost to missing values.",
    )


def _count(design: Design, group: str) -> str:
    count = next(len(t.levels) for t in design.terms if t.group == group)
    return f"{count} level{'' if count == 1 else 's'}"


def _independent(design: Design) -> list[RandomTerm]:
    """Terms with independent levels; a known covariance tells them from residuals."""
    return [term for term in design.terms if term.known is None]


def _as_many_levels_as_rows(design: Design) -> Message | None:
    n = design.nobs
    groups = [t.group for t in _independent(design) if len(t.levels) >= n]
    if not groups:
        return None
    return (
        f"The grouping factor {groups[0]!r} has {_count(design, groups[0])} for "
        f"{n} observations.",
        "The number of levels must be smaller than the number of observations, or "
        "the random effects cannot be told from the residuals.",
        "Group by a coarser factor.",
    )


def _no_message(design: Design) -> Message | None:
    return None


def _as_many_effects_as_rows(design: Design) -> Message | None:
    return _many_effects(design, design.nobs)


def _more_effects_than_rows(design: Design) -> Message | None:
    return _many_effects(design, design.nobs + 1)


#: Structures with a variance for every column; patterns tie columns together.
FREE = ("us", "diag")


def _many_effects(design: Design, limit: int) -> Message | None:
    n = design.nobs
    bound = "smaller" if limit == n else "no larger"
    for term in _independent(design):
        q = len(term.levels) * len(term.columns)
        # One column has an effect a level: that is the other check's business.
        if q >= limit and len(term.columns) > 1 and term.structure in FREE:
            return (
                f"There are {n} observations and {q} random effects for the term "
                f"({_left_side(term.columns)} | {term.group}).",
                f"The number of random effects must be {bound}; the random-effects "
                "parameters and the residual variance are probably unidentifiable.",
                "Use fewer random-effects columns, or checks={'random_effects': "
                "'ignore'} to fit anyway.",
            )
    return None


def _left_side(columns: tuple[str, ...]) -> str:
    return " + ".join("1" if name == "(Intercept)" else name for name in columns)


def _few_levels(design: Design) -> Message | None:
    groups = [t.group for t in design.terms if len(t.levels) < FEW_LEVELS]
    if not groups:
        return None
    return (
        f"The grouping factor {groups[0]!r} has only {_count(design, groups[0])}.",
        f"A variance is poorly determined by fewer than {FEW_LEVELS} levels.",
        "Consider a fixed effect.",
    )


def _different_scales(design: Design) -> Message | None:
    X = design.X
    # Columns of zeros and ones have a scale by nature.
    numeric = [
        j for j in range(X.shape[1]) if not ((X[:, j] == 0) | (X[:, j] == 1)).all()
    ]
    if len(numeric) < 2:
        return None
    sd = X[:, numeric].std(axis=0)
    if not (sd > 0).any():
        return None
    low, high = int(np.where(sd > 0, sd, np.inf).argmin()), int(sd.argmax())
    if sd[high] <= SCALE_RATIO * sd[low]:
        return None
    names = [design.column_names[j] for j in numeric]
    return (
        f"Some predictors are on very different scales: {names[high]!r} has a standard "
        f"deviation of {sd[high]:.3g}, {names[low]!r} of {sd[low]:.3g}.",
        "Numbers of similar size keep the arithmetic precise.",
        "Consider rescaling them.",
    )


def _constant_response(design: Design) -> Message | None:
    y = design.y
    if y.size == 0 or (y != y[0]).any():
        return None
    return (
        f"The response {design.y_name!r} is constant: it is {y[0]:g} in every row.",
        "A response must vary to be modelled.",
        "Look for the wrong column or a wrong subset.",
    )


@dataclass(frozen=True)
class Check:
    """One condition: lme4's name, the default severity, and what finds it.

    `find` returns the three parts of a message, or None where all is well; where no
    scale is estimated `find_fixed` takes its place, if there is one.
    """

    lme4: str
    default: str
    find: Callable[[Design], Message | None] | None
    find_fixed: Callable[[Design], Message | None] | None = None


CHECKS = {
    "constant_response": Check("check.response.not.const", "stop", _constant_response),
    "one_level": Check("check.nlev.gtr.1", "stop", _one_level),
    # A level for each row is a way to model overdispersion, where no scale does.
    "levels": Check("check.nobs.vs.nlev", "stop", _as_many_levels_as_rows, _no_message),
    "random_effects": Check(
        "check.nobs.vs.nRE", "stop", _as_many_effects_as_rows, _more_effects_than_rows
    ),
    "few_levels": Check("check.nlev.gtreq.5", "ignore", _few_levels),
    # The fit does not depend on units; lme4 warns by default.
    "scale": Check("check.scaleX", "ignore", _different_scales),
    # Found by the fit, which drops the columns; "stop" refuses the model instead.
    "rank": Check("check.rankX", "warn", None),
}


def severities(checks: str | Mapping[str, str] | None) -> dict[str, str]:
    """The severity of each check.

    Parameters
    ----------
    checks : str, mapping or None
        One severity for all checks; a mapping from the name of a check (ours or
        lme4's) to its severity, the others keeping their default; or None.

    Returns
    -------
    dict of str to str
        ``ignore``, ``warn`` or ``stop`` for each name in `CHECKS`.

    Raises
    ------
    OptionError
        If a name or a severity is not known.
    """
    if checks is None:
        return {name: check.default for name, check in CHECKS.items()}
    if isinstance(checks, str):
        return dict.fromkeys(CHECKS, _severity(checks))
    if not isinstance(checks, Mapping):
        raise OptionError(
            f"checks is of type {type(checks).__name__}.",
            "Expected a severity for all checks, or a mapping such as"
            " {'rank': 'stop'}.",
        )
    found = {name: check.default for name, check in CHECKS.items()}
    aliases = {check.lme4: name for name, check in CHECKS.items()}
    for name, severity in checks.items():
        # lme4's names may be written with underscores, and without "check".
        dotted = str(name).replace("_", ".")
        ours = aliases.get(dotted) or aliases.get(f"check.{dotted}", name)
        if ours not in CHECKS:
            raise OptionError(
                f"checks: there is no check {name!r}.",
                f"The checks are {', '.join(CHECKS)}.",
                near(str(name), [*CHECKS, *aliases]),
            )
        found[ours] = _severity(severity)
    return found


def _severity(value: str) -> str:
    # lme4 writes "warning", "message" and, for the rank, "warn+drop.cols".
    words = {
        "ignore": "ignore",
        "silent": "ignore",
        "warn": "warn",
        "message": "warn",
        "stop": "stop",
    }
    for word, severity in words.items():
        if isinstance(value, str) and value.startswith(word):
            return severity
    raise OptionError(
        f"checks: the severity {value!r} is not known.",
        f"It must be one of {', '.join(map(repr, SEVERITIES))}.",
    )


def check_design(
    design: Design, levels: Mapping[str, str], *, free_scale: bool = True
) -> list[DataWarning]:
    """Run every check that is not ignored.

    Parameters
    ----------
    design : Design
        The design of a mixed model.
    levels : mapping of str to str
        Severities, as `severities` returns them.
    free_scale : bool
        Whether a residual variance or a dispersion is estimated; without one there may
        be a random effect for each row.

    Returns
    -------
    list of DataWarning
        What checks of severity ``warn`` found; the caller issues them.

    Raises
    ------
    DesignError
        If a check of severity ``stop`` finds something.
    """
    found = []
    for name, check in CHECKS.items():
        if check.find is None or levels[name] == "ignore":
            continue
        fixed = None if free_scale else check.find_fixed
        message = (fixed or check.find)(design)
        if message is None:
            continue
        if levels[name] == "stop":
            raise DesignError(*message)
        found.append(DataWarning(" ".join(message)))
    return found
