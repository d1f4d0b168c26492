"""Every exception and warning class of the package.

A message has three parts: what was found, what was expected, what to do. The
classes keep the parts as attributes, so that a program can read them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 1000
"""Characters of a part of a message; values of users may be of any length."""


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


class LMEError(Exception):
    """Base of every error that the package raises on purpose.

    Parameters
    ----------
    found : str
        What was found, as a full sentence.
    expected : str, optional
        What was expected instead.
    remedy : str, optional
        What the user can do about it.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found = _shortened(found)
        self.expected = _shortened(expected)
        self.remedy = remedy
        parts = (self.found, self.expected, remedy)
        super().__init__(" ".join(part for part in parts if part))


class FormulaError(LMEError, ValueError):
    """A formula that cannot be read or expanded.

    Parameters
    ----------
    found, expected, remedy : str
        The three parts of the message.
    text : str, optional
        The formula as typed.
    position : int, optional
        0-based index in `text` of the first offending character.
    length : int, optional
        Number of offending characters, marked by carets.
    """

    def __init__(
        self,
        found: str,
        expected: str = "",
        remedy: str = "",
        *,
        text: str = "",
        position: int | None = None,
        length: int = 1,
    ) -> None:
        super().__init__(found, expected, remedy)
        self.text = text
        self.position = position
        self.length = length

    def __str__(self) -> str:
        message = super().__str__()
        if self.position is None or not self.text:
            return message
        # A window keeps the caret visible under a very long formula.
        start = max(0, self.position - 60)
        line = self.text[start : start + 120].replace("\n", " ")
        marks = max(1, min(self.length, len(line) - (self.position - start)))
        return f"{message}\n  {line}\n  {' ' * (self.position - start)}{'^' * marks}"


class DataError(LMEError, ValueError):
    """Data that cannot be used: missing columns, wrong lengths, NaN, infinities."""


class DataTypeError(LMEError, TypeError):
    """An argument or a column of a type that cannot be used."""


class DesignError(LMEError, ValueError):
    """Data and formula are readable, but the model cannot be identified."""


class OptionError(LMEError, ValueError):
    """An option with a value outside its documented set."""


class OptionTypeError(OptionError, DataTypeError):
    """An option of a wrong type; both an `OptionError` and a `DataTypeError`."""


class FitError(LMEError, ValueError):
    """A fit that cannot give the requested number."""


class UnavailableError(LMEError, AttributeError):
    """Something that statsmodels' base classes offer and a mixed model does not have.

    An ``AttributeError``, so that ``hasattr`` and tools that probe results say no.
    """


class GroupError(LMEError, KeyError):
    """A grouping factor that the model does not have."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        names = [str(each) for each in known]
        super().__init__(
            f"The model has no random-effects term {name!r}.",
            f"It has {', '.join(map(repr, names))}.",
            near(str(name), names),
        )

    # A KeyError would show the representation of its message.
    __str__ = Exception.__str__


class LMEWarning(UserWarning):
    """Base of every warning of the package; each is kept on the result too."""


class FormulaWarning(LMEWarning):
    """A formula that means something other than many readers would think."""


class DataWarning(LMEWarning):
    """Data were changed on the way into the model, such as new NaN rows dropped."""


class RankWarning(LMEWarning):
    """Columns of the fixed-effects matrix were dropped as linearly dependent."""


class ConvergenceWarning(LMEWarning):
    """The search stopped before the optimum, or the optimum is not unique."""


class ProfileWarning(LMEWarning):
    """A profile that is not monotone, ends early, or found a better optimum."""


class PerformanceWarning(LMEWarning):
    """The fit is right but would be much faster with an optional dependency."""


def near(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """A sentence suggesting spellings near `name`, or an empty string."""
    texts = [str(c) for c in candidates]
    folded = [text for text in texts if text.lower() == str(name).lower()]
    matches = folded or get_close_matches(str(name), texts, limit, 0.6)
    if not matches:
        return ""
    return "Did you mean " + " or ".join(repr(match) for match in matches) + "?"
