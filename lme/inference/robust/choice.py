"""The robust covariance that the user's words stand for, for either kind of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.robust.clusters import find_clusters
from lme.inference.robust.generalized_sandwich import generalized_sandwich
from lme.inference.robust.sandwich import CORRECTIONS, Sandwich, linear_sandwich
from lme.inference.working import MixedFit

KEYWORDS = ("groups", "type", "use_correction")
"""Options beside the kind, as in ``cov_kwds`` of statsmodels."""


def robust_covariance(
    fit: MixedFit,
    cov_type: str = "cluster",
    options: Mapping[str, Any] | None = None,
    frame: Any = None,
) -> Sandwich:
    """A cluster-robust covariance of the fixed effects.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model with its data.
    cov_type : str
        "cluster", or the type itself, such as "CR2".
    options : mapping, optional
        ``groups``: see `clusters.find_clusters`. ``type``: a key of
        `sandwich.CORRECTIONS`; by default "CR2", and "CR1" for a generalized model.
        ``use_correction``: statsmodels' name for "CR1S" (True) and "CR0" (False).
    frame : frame, optional
        The data of the model, for names of clusters.

    Returns
    -------
    Sandwich

    Raises
    ------
    OptionError
        For kinds, types and options that are not known.
    """
    wishes = dict(options or {})
    for name in wishes:
        if name not in KEYWORDS:
            raise OptionError(
                f"{name!r} is not an option of a robust covariance.",
                f"The options are {', '.join(KEYWORDS)}.",
                near(str(name), KEYWORDS),
            )
    _check_kind(cov_type, ())
    type = _type(cov_type, wishes)
    clusters = find_clusters(fit.design, wishes.get("groups"), frame)
    if isinstance(fit, GLMMFit):
        return generalized_sandwich(fit, clusters, type or "CR1")
    return linear_sandwich(fit, clusters, type or "CR2")


def robust_options(
    cov_type: str, cov_kwds: Any, plain: Sequence[str]
) -> dict[str, Any] | None:
    """What ``fit`` passes on to a robust covariance; None where none is asked for.

    Parameters
    ----------
    cov_type : str
        "cluster", a type, or one of `plain`.
    cov_kwds : mapping or None
        Options of a robust covariance.
    plain : sequence of str
        Kinds that are not robust.

    Raises
    ------
    OptionError
        For kinds that are not known, and options that have no use.
    """
    if cov_kwds is not None and not isinstance(cov_kwds, Mapping):
        raise OptionError(
            f"cov_kwds is of type {cov_kwds.__class__.__name__}.",
            "Expected a mapping such as {'groups': 'school'}.",
        )
    _check_kind(cov_type, plain)
    if cov_type not in plain:
        return dict(cov_kwds or {})
    if cov_kwds:
        raise OptionError(
            f"cov_kwds has no meaning with cov_type={cov_type!r}.",
            "It holds the options of a robust covariance.",
            "Use cov_type='cluster'.",
        )
    return None


def _check_kind(cov_type: Any, plain: Sequence[str]) -> None:
    known = [*plain, "cluster", *CORRECTIONS]
    if isinstance(cov_type, str) and cov_type in known:
        return
    raise OptionError(
        f"cov_type={cov_type!r} is not known.",
        f"It must be one of {', '.join(map(repr, known))}. Rows of a group are "
        "dependent, so that covariances for independent rows (HC0 ...) do not apply.",
        near(str(cov_type), known),
    )


def _type(cov_type: str, wishes: Mapping[str, Any]) -> str | None:
    """The type of the sandwich, however it was named; None for the default."""
    named = [wishes.get("type")]
    if cov_type != "cluster":
        named.append(cov_type)
    if wishes.get("use_correction") is not None:
        named.append("CR1S" if wishes["use_correction"] else "CR0")
    found = [name for name in named if name is not None]
    if len(set(found)) > 1:
        raise OptionError(
            f"The type is given as {' and as '.join(map(repr, found))}.",
            "One of cov_type, type and use_correction is enough.",
        )
    return found[0] if found else None
