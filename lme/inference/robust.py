"""The robust covariance that the user's words stand for, for either kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.clusters import find_clusters
from lme.inference.generalized_sandwich import generalized_sandwich
from lme.inference.sandwich import CORRECTIONS, Sandwich, linear_sandwich
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
    if cov_type in CORRECTIONS:
        wishes.setdefault("type", cov_type)
    elif cov_type != "cluster":
        raise OptionError(
            f"cov_type={cov_type!r} is not known.",
            "It must be 'cluster', or a type: "
            f"{', '.join(map(repr, CORRECTIONS))}. Rows of a group are dependent, so "
            "that covariances for independent rows (HC0 ...) do not apply.",
            near(str(cov_type), ["cluster", *CORRECTIONS]),
        )
    type = wishes.get("type")
    if type is None and wishes.get("use_correction") is not None:
        type = "CR1S" if wishes["use_correction"] else "CR0"
    clusters = find_clusters(fit.design, wishes.get("groups"), frame)
    if isinstance(fit, GLMMFit):
        return generalized_sandwich(fit, clusters, type or "CR1")
    return linear_sandwich(fit, clusters, type or "CR2")
