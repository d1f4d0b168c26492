"""Whether models can be compared at all: rows, responses, weights, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lme.errors import FitError
from lme.inference.comparison.candidates import Candidate
from lme.inference.comparison.shown_rows import CLASSES, classes, positions
from lme.partitions.fingerprints import fingerprint


def on_the_same_rows(models: Sequence[Candidate]) -> list[Candidate]:
    """The models with the rows that all of them have.

    Where the data of one are in partitions, these are a few; the others are cut to
    them, and keep a fingerprint of their responses.
    """
    if all(one.mark is None for one in models):
        return list(models)
    return [one if one.mark is not None else _cut(one) for one in models]


def _cut(one: Candidate) -> Candidate:
    chosen = positions(one.y.size)
    return replace(
        one,
        y=one.y[chosen],
        X=one.X[chosen],
        offset=one.offset[chosen],
        weights=one.weights[chosen],
        mu=one.mu[chosen],
        components=tuple(
            replace(
                part,
                codes=classes(part.codes[chosen], part.levels),
                levels=min(part.levels, CLASSES),
                values=part.values[chosen],
            )
            for part in one.components
        ),
        mark=fingerprint(one.y, one.weights),
    )


def refuse_resampling(models: Sequence[Candidate], test: str) -> None:
    """Raise for null distributions that need all rows, where these are not here.

    Raises
    ------
    FitError
    """
    if test != "chisq" and any(one.mark is not None for one in models):
        raise FitError(
            f"test={test!r} needs all rows in memory, and the data are in partitions.",
            "The statistic and its distribution in large samples do without.",
            "Use test='chisq'.",
        )


def incomparable(first: Candidate, other: Candidate) -> FitError | None:
    """Why two models cannot be compared at all, nested or not; None if they can."""
    remedy = "Fit all models to the same rows; drop rows with missing values first."
    if first.n != other.n:
        return FitError(
            f"The models were fitted to {first.n} and {other.n} rows.",
            "All must be fitted to the same data.",
            remedy,
        )
    marks = [one.mark for one in (first, other) if one.mark is not None]
    same = len({mark.response for mark in marks}) < 2
    if not (same and np.array_equal(first.y, other.y)):
        both = {first.y_name, other.y_name}
        named = f" ({' and '.join(sorted(both))})" if len(both) > 1 else ""
        return FitError(
            f"The models have different responses{named}.",
            "All must be fitted to the same values of the same response, row by row.",
            "Compare only models of one response on one scale; a constant that is "
            "taken off the response can be an offset instead.",
        )
    same = len({mark.weights for mark in marks}) < 2
    if not (same and np.array_equal(first.weights, other.weights)):
        return FitError(
            "The models have different prior weights.",
            "All must be fitted with the same weights.",
            "Fit the models with the same weights=.",
        )
    names = [first.distribution, other.distribution]
    if names[0] != names[1]:
        return FitError(
            f"The models have different families or links: {' and '.join(names)}.",
            "Only models of one family and link differ by their terms alone.",
            "Fit all with the same family= and link=; AIC compares any of them.",
        )
    return None
