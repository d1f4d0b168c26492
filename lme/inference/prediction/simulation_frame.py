"""Simulated responses as a frame, in the form that the response had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.covariance.known import Known
from lme.families.base import Family
from lme.formula.design import Design
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.inference.prediction.conditional_means import refuse_offset
from lme.inference.prediction.rows import (
    Kept,
    argument,
    known_part,
    masked,
    new_weights,
    refuse_weights,
    rows_of_data,
    selected_effects,
)
from lme.inference.prediction.simulation import (
    Effects,
    Mechanism,
    count_of,
    drawn_factor,
    draws,
    mechanism_of,
    responding,
)
from lme.inference.residual_structure import refuse_correlated
from lme.inference.working import MixedFit
from lme.partitions.fingerprints import mixed

Array = NDArray[np.float64]
Hashes = NDArray[np.uint64]

SUCCESSES, FAILURES = "successes", "failures"
_WHOLE = ("poisson", "negative_binomial", "bernoulli")


@dataclass(frozen=True)
class Form:
    """What a response looked like before it became numbers.

    Attributes
    ----------
    kind : {"numeric", "whole", "logical", "factor", "counts"}
    levels : tuple of str
        The two categories, failure first.
    """

    kind: str
    levels: tuple[str, ...] = ()


def form_of(design: Design, family: Family | None, weights: Array | None) -> Form:
    """The form of responses of a family for a design."""
    if family is None:
        return Form("numeric")
    if design.y_kind != "numeric":
        return Form(design.y_kind, design.y_levels)
    ones = family.name == "binomial" and weights is None
    return Form("whole" if ones or family.name in _WHOLE else "numeric")


def simulate(
    fit: MixedFit,
    n: int = 1,
    *,
    seed: Any = None,
    re_form: str = "none",
    newdata: Any = None,
    weights: Any = None,
    offset: Any = None,
) -> pd.DataFrame:
    """New responses from a fitted model, as a frame.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    n : int
        Number of replicates.
    seed : int, Generator, SeedSequence or None
        The same seed gives the same responses.
    re_form : str
        Random effects that are kept at their conditional modes; all others are drawn
        anew. "none" (the default) draws all, as for new groups, "all" keeps all, a
        formula such as ``"~ (1 | g)"`` keeps some.
    newdata : frame or mapping, optional
        Rows to draw responses for; by default those of the fit. Levels that the fit
        did not see have random effects drawn for them, whatever `re_form` says; a row
        without a level has its own.
    weights : str or array_like, optional
        For `newdata`: prior weights or numbers of trials. By default the row sums of
        ``cbind(successes, failures)`` if `newdata` has these columns, else 1. The
        weights of the fit are for its own rows.
    offset : str or array_like, optional
        For `newdata`, in place of the ``offset=`` of the fit.

    Returns
    -------
    DataFrame
        Columns ``sim_1`` to ``sim_n`` on the index of the rows, in the form of the
        response: categories, bools, whole numbers. Counts of successes and failures
        are two columns, ``("sim_1", "successes")`` and ``("sim_1", "failures")``. Rows
        with missing variables are missing.

    Raises
    ------
    OptionError
        For a number of replicates that is not a whole number from 1.

    Notes
    -----
    Parameters are taken as known. The numbers depend on neither the number of workers
    nor the number of replicates that follow; see `lme.inference.prediction.simulation`.
    """
    n = count_of(n)
    family = fit.family if isinstance(fit, GLMMFit) else None
    design = fit.design
    if newdata is None:
        refuse_offset(offset)
        refuse_weights(weights)
        form = form_of(design, family, design.weights)
        return framed(design, draws(mechanism_of(fit, re_form), n, seed), form)
    refuse_correlated(
        fit, "simulate(newdata=...)", "Simulate the rows of the fit, without newdata."
    )
    table = Table(newdata)
    kept = selected_effects(fit, re_form)
    prior = new_weights(fit, table, weights)
    mechanism = new_mechanism(fit, table, kept, offset, prior)
    trials = np.ones(table.nrow) if prior is None else prior
    form = form_of(design, family, prior)
    return to_frame(draws(mechanism, n, seed), form, table.index, trials)


def new_mechanism(
    fit: MixedFit,
    table: Table,
    kept: Kept,
    offset: Any,
    weights: Array | None,
    salt: int | None = None,
) -> Mechanism:
    """The mechanism of a fitted model for new rows; see `simulate`.

    With a `salt` of this part of the data levels have keys that other parts share.
    """
    known = argument(fit, table, "offset", offset)
    rows = rows_of_data(fit, table, selected_effects(fit, "all"), known)
    terms, effects = [], []
    for k, term, labels in zip(rows.which, rows.terms, rows.labels, strict=True):
        own = kept.get(k, ())
        terms.append(replace(term, values=masked(term.values, own)))
        codes = _extended(term.codes, len(term.levels), labels)
        named = _keys(len(term.levels), labels, salt)
        factor = drawn_factor(fit, k, own)
        if factor is not None:
            # Levels that the fit did not see have effects of their own below.
            values = term.values
            if own:
                values = np.where(term.codes[:, None] < 0, 0.0, values)
            effects.append(_compressed(codes, values, factor, named, term.known))
        whole = drawn_factor(fit, k, ())
        if own and whole is not None and (term.codes < 0).any():
            fresh = np.where(term.codes[:, None] < 0, term.values, 0.0)
            effects.append(_compressed(codes, fresh, whole, named, term.known))
    eta = known_part(fit, replace(rows, terms=tuple(terms)))
    return responding(fit, eta, tuple(effects), weights)


def _extended(
    codes: NDArray[np.intp], levels: int, labels: NDArray[Any]
) -> NDArray[np.intp]:
    """Codes in which the levels that were not seen follow those of the fit."""
    own, distinct = pd.factorize(labels)
    # A row without a level is a group of its own.
    absent = np.flatnonzero(own < 0)
    own[absent] = len(distinct) + np.arange(len(absent))
    out = codes.copy()
    out[codes < 0] = levels + own
    return out


def _keys(
    levels: int, labels: NDArray[Any], salt: int | None
) -> Callable[[NDArray[np.intp]], Hashes]:
    """From extended codes to what levels are known by elsewhere."""
    if salt is None:
        return lambda codes: np.zeros(0, dtype=np.uint64)
    own, distinct = pd.factorize(labels)
    new = pd.util.hash_array(np.asarray(distinct, dtype=object))
    # Rows without a level have one of their own, which no other part may have.
    absent = np.arange(int((own < 0).sum()), dtype=np.uint64)
    alone = mixed(absent + np.uint64(salt + 1) * np.uint64(2**40))
    table = np.concatenate([mixed(new), alone])

    def find(codes: NDArray[np.intp]) -> Hashes:
        out = codes.astype(np.uint64)
        out[codes >= levels] = table[codes[codes >= levels] - levels]
        return out

    return find


def _compressed(
    codes: NDArray[np.intp],
    values: Array,
    factor: Array,
    known: Callable[[NDArray[np.intp]], Hashes],
    relation: Known | None,
) -> Effects:
    """Effects of the levels that occur, so that the others cost nothing."""
    if relation is not None:
        # Levels with a known covariance are drawn together.
        count = max(relation.levels, int(codes.max(initial=-1)) + 1)
        keys = known(np.arange(count, dtype=np.intp))
        return Effects(codes, values, count, factor, relation, keys)
    occurring, position = np.unique(codes, return_inverse=True)
    own = position.astype(np.intp)
    return Effects(own, values, len(occurring), factor, keys=known(occurring))


def framed(
    design: Design, values: Array, form: Form, trials: Array | None = None
) -> pd.DataFrame:
    """Replicates of the rows of a design as a frame.

    As `label_rows` for one response: with ``na_action="exclude"`` the rows that the
    fit left out come back.
    """
    trials = design.trials if trials is None else trials
    complete = len(design.full_index) == values.shape[1]
    if design.na_action != "exclude" or complete:
        return to_frame(values, form, design.index, trials)
    if trials is not None:
        trials = _padded(design, trials)
    return to_frame(_padded(design, values), form, design.full_index, trials)


def _padded(design: Design, values: Array) -> Array:
    """Values of the rows used (..., n) in their places among all rows, else NaN."""
    out = np.full((*values.shape[:-1], len(design.full_index)), np.nan)
    out[..., design.kept] = values
    return out


def to_frame(
    values: Array,
    form: Form,
    index: pd.Index[Any],
    trials: Array | None = None,
) -> pd.DataFrame:
    """Replicates (n, rows) as columns in the form of the response.

    Parameters
    ----------
    values : (n, rows) array
    form : Form
    index : Index
        Labels of the rows.
    trials : (rows,) array, optional
        For counts.
    """
    names = [f"sim_{i + 1}" for i in range(len(values))]
    if form.kind == "counts":
        assert trials is not None
        successes = np.round(values * trials, 9)
        both = np.stack([successes, trials - successes], axis=1)
        columns = pd.MultiIndex.from_product([names, [SUCCESSES, FAILURES]])
        flat = both.reshape(-1, values.shape[1])
        return _whole(pd.DataFrame(flat.T, index=index, columns=columns))
    if form.kind == "factor":
        levels = pd.Index(form.levels)
        codes = np.where(np.isnan(values), -1, values).astype(int)
        return pd.DataFrame(
            {
                name: pd.Categorical.from_codes(own, categories=levels)
                for name, own in zip(names, codes, strict=True)
            },
            index=index,
        )
    frame = pd.DataFrame(values.T, index=index, columns=pd.Index(names))
    if form.kind == "whole":
        return _whole(frame)
    if form.kind == "logical":
        return frame.astype("boolean" if np.isnan(values).any() else "bool")
    return frame


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers as integers, missing ones as missing."""
    values = frame.to_numpy()
    absent = np.isnan(values)
    if (np.round(values) != values)[~absent].any():
        return frame
    return frame.astype("Int64" if absent.any() else "int64")
