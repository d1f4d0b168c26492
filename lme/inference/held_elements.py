"""What inference asks of elements of theta that are held: words, and limits."""

from __future__ import annotations

from collections.abc import Iterable

from lme.errors import FitError
from lme.fixing import held_entries
from lme.inference.working import MixedFit
from lme.naming import Parameter


def held_text(fit: MixedFit) -> str:
    """What is held, as in ``Subject.Days = 0.2``; empty where all is free."""
    found = held_entries(fit.design).items()
    return ", ".join(
        f"{name} = {value}" if isinstance(value, str) else f"{name} = {value:g}"
        for name, value in found
    )


def refuse_held(fit: MixedFit, what: str, remedy: str = "") -> None:
    """Raise FitError where `what` has no code for elements that are held."""
    text = held_text(fit)
    if text:
        raise FitError(
            f"{what} is not available with elements of theta held ({text}).",
            "It takes all of them to be estimated.",
            remedy,
        )


def refuse_held_parameters(fit: MixedFit, chosen: Iterable[Parameter]) -> None:
    """Raise FitError for standard deviations and correlations of terms with holds."""
    terms = [term for term in fit.design.terms if len(term.columns)]
    for parameter in chosen:
        if parameter.slot >= 0 and terms[parameter.slot].held is not None:
            raise FitError(
                f"{parameter.name} has no profile: elements of theta of its term are "
                f"held ({held_text(fit)}).",
                "It could not be moved and leave them as they are.",
                "Name other parameters, as in parm='beta_', or use method='boot'.",
            )
