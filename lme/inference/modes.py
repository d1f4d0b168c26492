"""Conditional modes of the random effects, their covariance, coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import GroupError
from lme.inference.components import term_names
from lme.inference.working import MixedFit, conditional_covariance

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class RandomEffects(Mapping[str, pd.DataFrame]):
    """Conditional modes of the random effects, a frame a grouping factor.

    A mapping from the grouping factor to a frame with a row a level and a column a
    random-effects column; the terms of one factor stand side by side.

    Attributes
    ----------
    frames : dict of str to DataFrame
        The modes, in the order of the terms.
    """

    frames: Mapping[str, pd.DataFrame]
    _fit: MixedFit = field(compare=False)
    _spherical: bool = False

    def __getitem__(self, group: str) -> pd.DataFrame:
        if group not in self.frames:
            raise GroupError(group, self.frames)
        return self.frames[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return "\n\n".join(f"${name}\n{frame}" for name, frame in self.frames.items())

    def _repr_html_(self) -> str:
        blocks = (
            f"<b>{name}</b>{frame.to_html(max_rows=20)}"
            for name, frame in self.frames.items()
        )
        return "".join(blocks)

    def plot(self, **options: Any) -> Any:
        """Caterpillars, quantiles or scatters; see `lme.report.plots.plot_ranef`."""
        from lme.report.plots import plot_ranef

        return plot_ranef(self, **options)

    def to_frame(self) -> pd.DataFrame:
        """One row a level and column, as lme4's ``as.data.frame(ranef(m))``.

        Returns
        -------
        DataFrame
            Columns ``grpvar`` (grouping factor), ``term`` (column), ``grp`` (level),
            ``condval`` (mode) and ``condsd`` (conditional standard deviation given
            theta; on the spherical scale, ``sqrt`` of the same with Lambda taken
            out, it is not defined here and is NaN).
        """
        pieces = []
        deviations = None if self._spherical else conditional_deviations(self._fit)
        for group, frame in self.frames.items():
            levels = frame.index.to_numpy()
            for j, column in enumerate(frame.columns):
                sd = np.nan if deviations is None else deviations[group][:, j]
                piece = {
                    "grpvar": group,
                    "term": column,
                    "grp": levels,
                    "condval": frame.iloc[:, j].to_numpy(),
                    "condsd": sd,
                }
                pieces.append(pd.DataFrame(piece))
        return pd.concat(pieces, ignore_index=True)


def random_effects(fit: MixedFit, *, spherical: bool = False) -> RandomEffects:
    """Conditional modes ``b`` (or ``u``) by grouping factor.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    spherical : bool
        Give ``u`` instead of ``b = Lambda u``: independent, with standard deviation
        sigma under the model.

    Returns
    -------
    RandomEffects
        On the scale of the response (`b`) or of the response divided by the
        relative standard deviations (`u`); of the linear predictor for a generalized
        model.
    """
    modes = fit.u if spherical else fit.b
    frames: dict[str, list[pd.DataFrame]] = {}
    for term, values in zip(fit.design.terms, modes, strict=True):
        index = pd.Index(list(term.levels), dtype=object, name=term.group)
        frame = pd.DataFrame(values, index=index, columns=list(term.columns))
        frames.setdefault(term.group, []).append(frame)
    merged = {
        group: parts[0] if len(parts) == 1 else pd.concat(parts, axis=1)
        for group, parts in frames.items()
    }
    return RandomEffects(merged, fit, spherical)


def conditional_variances(fit: MixedFit) -> dict[str, Array]:
    """Covariance of the random effects of each level given the data and theta.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    dict of str to ndarray
        For each term (named as in `VarCorr`: ``Subject``, ``Subject.1``) an array of
        shape (k, k, levels) on the scale of the response squared.

    Notes
    -----
    Diagonal blocks of ``sigma^2 Lambda (Lambda'Z'WZ Lambda + I)^{-1} Lambda'``, with
    the working weights at the modes and ``sigma = 1`` for a generalized model. The
    uncertainty of the fixed effects and of theta is not part of it.
    """
    return {
        name: np.moveaxis(blocks, 0, -1)
        for name, blocks in zip(
            term_names(fit), conditional_covariance(fit), strict=True
        )
    }


def conditional_deviations(fit: MixedFit) -> dict[str, Array]:
    """Conditional standard deviations by grouping factor, (levels, columns)."""
    found: dict[str, list[Array]] = {}
    blocks = conditional_covariance(fit)
    for term, block in zip(fit.design.terms, blocks, strict=True):
        # Rounding can leave a tiny negative variance where a component is zero.
        variance = np.maximum(np.diagonal(block, axis1=1, axis2=2), 0.0)
        found.setdefault(term.group, []).append(np.sqrt(variance))
    return {group: np.hstack(parts) for group, parts in found.items()}


def coefficients(fit: MixedFit) -> dict[str, pd.DataFrame]:
    """Fixed effects plus random effects, for each level of each factor.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    dict of str to DataFrame
        A row a level. Random-effects columns without a fixed effect come first, with
        a fixed effect of zero; columns without a random effect are constant.
    """
    names = [fit.design.column_names[i] for i in fit.kept_columns]
    tables = {}
    for group, modes in random_effects(fit).items():
        extra = [name for name in dict.fromkeys(modes.columns) if name not in names]
        center = dict.fromkeys(extra, 0.0) | dict(zip(names, fit.beta, strict=True))
        values = np.tile(np.array(list(center.values())), (len(modes), 1))
        table = pd.DataFrame(values, index=modes.index, columns=list(center))
        for j, name in enumerate(modes.columns):
            table[name] += modes.iloc[:, j]
        tables[group] = table
    return tables


def stacked(parts: tuple[Array, ...]) -> Array:
    """Random effects of all terms as one vector: by term, by level, by column."""
    if not parts:
        return np.zeros(0)
    return np.concatenate([part.ravel() for part in parts])
