"""A fit as a document: what defines the model, where the search ended, which data."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
import scipy

from lme.errors import LMEError, OptionError
from lme.families import Family, NegativeBinomial, resolve
from lme.fixing import held_entries
from lme.generalized import GLMMFit
from lme.inference.components import theta_names
from lme.inference.working import MixedFit
from lme.persistence.document import FORMAT, VERSION, plain
from lme.persistence.fingerprints import of_arrays, of_data
from lme.search import control_from

TEXT_ARGUMENTS = ("weights", "offset", "subset")
"""Arguments that may be expressions in the columns of the data."""


def describe(
    fit: MixedFit, options: Mapping[str, Any], data: Any, cov_type: str | None
) -> dict[str, Any]:
    """The document of a fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
        With its data.
    options : mapping
        The arguments of the model.
    data : frame, mapping or None
        What the model was made from; None for a model from matrices.
    cov_type : str or None
        Kind of standard errors of a generalized model.
    """
    arguments, missing = _arguments(fit, options)
    design = fit.design
    texts = tuple(
        arguments[name]
        for name in TEXT_ARGUMENTS
        if isinstance(arguments.get(name), str)
    )
    prints = (
        of_arrays(design) if design.recipe is None else of_data(design, data, texts)
    )
    return {
        "format": FORMAT,
        "version": VERSION,
        "versions": _versions(),
        "kind": "glmm" if isinstance(fit, GLMMFit) else "lmm",
        "formula": design.formula,
        "from_arrays": design.recipe is None,
        "arguments": arguments,
        "arguments_not_stored": missing,
        "data": prints,
        "design": {
            "nobs": len(design.index),
            "columns": list(design.column_names),
            "dropped": [
                name
                for i, name in enumerate(design.column_names)
                if i not in set(fit.kept_columns.tolist())
            ],
            "terms": [
                {
                    "group": term.group,
                    "columns": list(term.columns),
                    "levels": len(term.levels),
                    "structure": term.structure,
                }
                for term in design.terms
            ],
        },
        "fit": _fit_options(fit, cov_type),
        "estimates": {
            "theta": fit.theta,
            "theta_names": theta_names(fit),
            "beta": fit.beta,
            "sigma": fit.sigma,
            "extra": fit.extra if isinstance(fit, GLMMFit) else None,
            "residual": _residual(fit),
            "objective": fit.objective,
        },
        "verdict": _verdict(fit),
        "trace": {
            "objective": fit.trace.objective,
            "gradient_norm": fit.trace.gradient_norm,
            "theta": fit.trace.theta,
        },
        "warnings": [
            {"class": type(note).__name__, "message": str(note)}
            for note in fit.warnings[len(design.warnings) :]
        ],
    }


def _residual(fit: MixedFit) -> Any:
    """Parameters of a residual structure, on the scale of the search."""
    return (
        None if isinstance(fit, GLMMFit) or fit.residual is None else fit.residual.phi
    )


def _versions() -> dict[str, str]:
    try:
        own = metadata.version("statsmodels-lme")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return {
        "lme": own,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "pandas": pd.__version__,
    }


def _arguments(
    fit: MixedFit, options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Arguments of the model that are text or numbers, and the names of the others."""
    stored: dict[str, Any] = {}
    missing = []
    for name, value in options.items():
        if name in ("family", "link"):
            continue
        if name in TEXT_ARGUMENTS and not (value is None or isinstance(value, str)):
            missing.append(name)
            continue
        try:
            if name == "context" and value:
                raise TypeError("Functions and values of the user's own.")
            stored[name] = plain(value)
        except TypeError:
            missing.append(name)
    if isinstance(fit, GLMMFit):
        family = _family(fit.family)
        stored["family"] = family
        if family is None:
            missing.append("family")
    return stored, missing


def _family(family: Family) -> dict[str, Any] | None:
    """Name, link and known theta; None for a family that these do not say all of."""
    theta = getattr(family, "theta", None)
    found = {
        "name": family.name,
        "link": family.link.name,
        "theta": None if theta is None else float(theta),
    }
    try:
        same = family_of(found) == family
    except (LMEError, TypeError):
        return None
    return found if same else None


def family_of(stored: Mapping[str, Any]) -> Family:
    """The family that `describe` wrote down.

    Raises
    ------
    OptionError
        For names and numbers that are not known.
    """
    name, link, theta = (stored.get(key) for key in ("name", "link", "theta"))
    if not isinstance(name, str) or not isinstance(link, str):
        raise OptionError("The stored family has no name or no link.")
    family = resolve(name, link)
    if theta is None:
        return family
    known = isinstance(theta, (int, float)) and not isinstance(theta, bool)
    if family.name != "negative_binomial" or not known:
        raise OptionError("The stored family has a theta that cannot be.")
    return NegativeBinomial(float(theta), link)


def _fit_options(fit: MixedFit, cov_type: str | None) -> dict[str, Any]:
    options = fit.options
    control = control_from(options["control"])
    found: dict[str, Any] = {
        "reml": fit.reml,
        "optimizer": options["optimizer"],
        "fix": held_entries(fit.design),
        "control": {
            name: getattr(control, name) for name in type(control).__dataclass_fields__
        },
    }
    if isinstance(fit, GLMMFit):
        found |= {
            "nAGQ": fit.nAGQ,
            "laplace": fit.laplace,
            "laplace_option": options["laplace"],
            "cov_type": cov_type,
        }
    else:
        found |= {"kernel": options["kernel"], "sigma": options["sigma"]}
    return found


def _verdict(fit: MixedFit) -> dict[str, Any]:
    verdict = fit.convergence
    return {name: getattr(verdict, name) for name in type(verdict).__dataclass_fields__}
