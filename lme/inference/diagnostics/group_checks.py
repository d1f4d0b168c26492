"""Lines of a diagnosis on random effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lme.generalized import GLMMFit
from lme.inference.diagnostics.assumptions import Check, normality, worst
from lme.inference.estimates import group_sizes
from lme.inference.modes import conditional_variances
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Levels from which a variance is estimated with some precision, and from which the
#: shape of a distribution can be seen.
_FEW_LEVELS, _FEW_FOR_SHAPE = 6, 15


def few_levels(fit: MixedFit) -> list[Check]:
    """Factors with so few levels that their variance is hardly determined."""
    out = []
    for name, count in group_sizes(fit).items():
        if count < _FEW_LEVELS:
            out.append(
                Check(
                    f"{name}: levels",
                    "levels",
                    float(count),
                    "look",
                    f"{count} levels: a variance is hardly determined by so few, and "
                    "no test of its distribution has power",
                    f"res.profile() for its interval; {name} as a fixed effect",
                )
            )
    return out


def _modes(
    fit: MixedFit,
) -> list[tuple[str, tuple[str, ...], tuple[str, ...], Array, Array]]:
    """Per term: factor, columns, levels, modes (l, p) and their covariances (l, p, p).

    The covariance of the modes over data sets is that of the effects less that given
    the data.
    """
    out = []
    variances = conditional_variances(fit).values()
    for term, lam, b, left in zip(
        fit.design.terms, fit.lambdas, fit.b, variances, strict=True
    ):
        # One count says little of its own effect: such modes follow no normal curve.
        alone = isinstance(fit, GLMMFit) and 2 * len(term.levels) > fit.mu.size
        # Modes of related levels go together, and are no sample.
        if term.values.shape[1] and not alone and term.known is None:
            whole = fit.sigma**2 * lam @ lam.T
            spread = whole - np.moveaxis(left, -1, 0)
            out.append((term.group, term.columns, term.levels, b, spread))
    return out


def group_normality(fit: MixedFit) -> list[Check]:
    """Distribution of the conditional modes, column by column."""
    out = []
    for group, columns, _, b, spread in _modes(fit):
        for j, column in enumerate(columns):
            variance = spread[:, j, j]
            informed = variance > 1e-6 * max(float(variance.max()), 1e-300)
            if informed.sum() < 5:
                continue
            scores = b[informed, j] / np.sqrt(variance[informed])
            out.append(
                normality(
                    f"{group}, {column}: normal",
                    scores,
                    _FEW_FOR_SHAPE,
                    "levels",
                    f"res.plot_ranef(kind='qq'); levels of {group} that stand apart",
                )
            )
    return out


def outlying_groups(fit: MixedFit) -> list[Check]:
    """Levels whose modes are farther out than those of so many levels should be."""
    out = []
    for group, columns, levels, b, spread in _modes(fit):
        values, vectors = np.linalg.eigh(spread)
        top = max(float(values.max()), 1e-300)
        turned = np.einsum("lp,lpq->lq", b, vectors)
        informed = values > 1e-6 * top
        squares = np.where(informed, turned**2 / np.where(informed, values, 1.0), 0.0)
        distance, df = squares.sum(axis=1), informed.sum(axis=1)
        if not df.any():
            continue
        tail = np.where(df > 0, chdtrc(np.maximum(df, 1), distance), 1.0)
        at = int(np.argmin(tail))
        p = min(1.0, float(tail[at]) * len(levels))
        bad = p < 0.05
        size = float(np.sqrt(distance[at]))
        name = f"{group}: outlying levels"
        if sum(t.group == group for t in fit.design.terms) > 1:
            name = f"{group}, {columns[0]}: outlying levels"
        out.append(
            Check(
                name,
                "largest distance",
                size,
                worst(bad, p < 1e-4),
                f"largest distance {size:.2f} standard deviations ({levels[at]}, "
                f"p = {p:.2g} among {len(levels):,})",
                f"res.get_influence(groups={group!r}) for what they change"
                if bad
                else "",
            )
        )
    return out
