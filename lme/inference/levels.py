"""Coverage of intervals: its check and the names of the limits."""

from __future__ import annotations

from typing import Any

from lme.errors import OptionError


def check_level(level: Any) -> float:
    """The coverage as a number strictly between 0 and 1; raises OptionError."""
    number = isinstance(level, (int, float)) and not isinstance(level, bool)
    try:
        value = float(level) if number or hasattr(level, "__float__") else float("nan")
    except (TypeError, ValueError):
        value = float("nan")
    if not 0.0 < value < 1.0 or isinstance(level, bool):
        hint = f"Write level={value / 100:g}." if 1.0 < value < 100.0 else ""
        raise OptionError(
            f"level is {level!r}.", "A coverage between 0 and 1 was expected.", hint
        )
    return value


def percent_names(level: float) -> list[str]:
    """R's names of the limits: ``2.5 %`` and ``97.5 %`` for 0.95."""
    tail = 50.0 * (1.0 - level)
    return [f"{share:.6g} %" for share in (round(tail, 10), round(100.0 - tail, 10))]
