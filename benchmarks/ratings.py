"""Large synthetic tables, always the same: ratings, nested schools, test answers."""

import numpy as np
import pandas as pd


def _as_factor(codes: np.ndarray, levels: int) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, [str(i) for i in range(levels)])


def _every_level_then_power_law(rng, rows, levels, exponent):
    """Codes in which every level occurs, the rest by a power law."""
    weight = np.arange(1, levels + 1, dtype=float) ** -exponent
    more = rng.choice(levels, size=rows - levels, p=weight / weight.sum())
    codes = np.concatenate([np.arange(levels), more])
    # Popular levels are spread over the codes, as identifiers in real tables are.
    return rng.permutation(rng.permutation(levels)[codes])


def ratings(
    rows: int = 1_000_000, users: int = 6_040, items: int = 3_706, seed: int = 20260101
) -> pd.DataFrame:
    """Ratings of items by users: two crossed factors with power-law counts.

    Parameters
    ----------
    rows, users, items : int
        The sizes of the MovieLens 1M table by default.
    seed : int
        Seed of the generator.

    Returns
    -------
    pandas.DataFrame
        Columns ``y`` (3.5 + user + item + noise; standard deviations 0.45, 0.65 and
        0.9), ``user`` and ``item`` (categories).
    """
    rng = np.random.default_rng(seed)
    user = _every_level_then_power_law(rng, rows, users, 0.7)
    item = _every_level_then_power_law(rng, rows, items, 0.9)
    y = (
        3.5
        + rng.normal(0.0, 0.45, users)[user]
        + rng.normal(0.0, 0.65, items)[item]
        + rng.normal(0.0, 0.9, rows)
    )
    return pd.DataFrame(
        {"y": y, "user": _as_factor(user, users), "item": _as_factor(item, items)}
    )


def nested(
    rows: int = 1_000_000,
    groups: int = 50_000,
    outer: int = 2_000,
    seed: int = 20260102,
) -> pd.DataFrame:
    """Pupils in classes in schools: a covariate and two nested factors.

    Parameters
    ----------
    rows, groups, outer : int
        Numbers of pupils, classes and schools.
    seed : int
        Seed of the generator.

    Returns
    -------
    pandas.DataFrame
        Columns ``y``, ``x``, ``class_`` and ``school`` (categories).
    """
    rng = np.random.default_rng(seed)
    school_of = rng.permutation(
        np.concatenate([np.arange(outer), rng.integers(0, outer, groups - outer)])
    )
    inner = rng.permutation(
        np.concatenate([np.arange(groups), rng.integers(0, groups, rows - groups)])
    )
    school = school_of[inner]
    x = rng.normal(size=rows)
    y = (
        1.0
        + (0.5 + rng.normal(0.0, 0.3, outer)[school]) * x
        + rng.normal(0.0, 0.8, groups)[inner]
        + rng.normal(0.0, 0.6, outer)[school]
        + rng.normal(0.0, 1.0, rows)
    )
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "class_": _as_factor(inner, groups),
            "school": _as_factor(school, outer),
        }
    )


def answers(
    rows: int = 1_000_000,
    subjects: int = 20_000,
    items: int = 500,
    seed: int = 20260103,
) -> pd.DataFrame:
    """Right and wrong answers of subjects to items, with a covariate.

    Parameters
    ----------
    rows, subjects, items : int
        The sizes; subjects and items meet at random.
    seed : int
        Seed of the generator.

    Returns
    -------
    pandas.DataFrame
        Columns ``y`` (0 or 1), ``x``, ``subject`` and ``item`` (categories); standard
        deviations 1 and 0.7 on the logit scale.
    """
    rng = np.random.default_rng(seed)
    subject = rng.integers(0, subjects, rows)
    item = rng.integers(0, items, rows)
    x = rng.normal(size=rows)
    eta = (
        -0.5
        + 0.3 * x
        + rng.normal(size=subjects)[subject]
        + rng.normal(0.0, 0.7, items)[item]
    )
    y = (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "subject": _as_factor(subject, subjects),
            "item": _as_factor(item, items),
        }
    )
