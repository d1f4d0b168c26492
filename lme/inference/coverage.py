"""Options that reports and intervals share, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from lme.errors import OptionError


def check_alpha(alpha: Any) -> float:
    """One minus the coverage of an interval, as a float between 0 and 1.

    Raises
    ------
    OptionError
        For anything else.
    """
    number = isinstance(alpha, (int, float, np.integer, np.floating))
    if not number or isinstance(alpha, bool) or not 0.0 < float(alpha) < 1.0:
        raise OptionError(
            f"alpha={alpha!r} is not a number between 0 and 1.",
            "It is one minus the coverage of an interval.",
            "Use alpha=0.05 for intervals of 95 percent.",
        )
    return float(alpha)


def check_level(level: Any) -> float:
    """The coverage of an interval, as a float between 0 and 1.

    Raises
    ------
    OptionError
        For anything else.
    """
    number = isinstance(level, (int, float, np.integer, np.floating))
    if not number or isinstance(level, bool) or not 0.0 < float(level) < 1.0:
        raise OptionError(
            f"level={level!r} is not a number between 0 and 1.",
            "It is the coverage of an interval.",
            "Use level=0.95 for intervals of 95 percent.",
        )
    return float(level)


def check_digits(digits: Any) -> int:
    """Significant digits, a whole number from 1 to 15.

    Raises
    ------
    OptionError
        For anything else.
    """
    whole = isinstance(digits, (int, np.integer)) and not isinstance(digits, bool)
    if not whole or not 1 <= digits <= 15:
        raise OptionError(
            f"digits={digits!r} is not a number of digits.",
            "It must be a whole number from 1 to 15.",
        )
    return int(digits)
