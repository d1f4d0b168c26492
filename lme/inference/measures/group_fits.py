"""The record of regressions within groups: coefficients, spread, intervals, words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lme.errors import OptionError
from lme.families import Family
from lme.formula.design import Design
from lme.inference.estimates import label_rows
from lme.inference.measures.group_regression import Regressions
from lme.inference.text import html_table, number, p_value, table

Array = NDArray[np.float64]

_SHOWN = 20
"""Groups that are printed."""
_BOUND = 1e-8
"""Distance of a mean to its bound that counts as none."""


@dataclass(frozen=True, repr=False)
class WithinGroupSummary:
    """Tests of the coefficients of all groups.

    Attributes
    ----------
    frame : DataFrame
        Index (group, term); columns ``estimate``, ``se``, ``t`` (or ``z``), ``p``.
    caption, scale : str
        The lines above and below the tables.
    """

    frame: pd.DataFrame
    caption: str
    scale: str

    def as_text(self) -> str:
        """A table for each coefficient, a row a group."""
        group, letter = str(self.frame.index.names[0]), str(self.frame.columns[2])
        header = [group, "coef", "std err", letter, f"P>|{letter}|"]
        blocks = [self.caption]
        for term, part in self.frame.groupby(level="term", sort=False):
            rows = [
                [str(name), number(b), number(se), number(ratio, 3), p_value(p)]
                for (name, _), (b, se, ratio, p) in zip(
                    part.index, part.to_numpy(), strict=True
                )
            ]
            blocks.append(f"{term}\n{table(rows, header, left=(0,))}")
        return "\n\n".join([*blocks, self.scale])

    def __repr__(self) -> str:
        return self.as_text()


@dataclass(frozen=True, repr=False)
class WithinGroupFits:
    """The regressions of all groups; `lmList` makes them.

    Attributes
    ----------
    design : Design
        Everything that formula and data determine.
    family : Family or None
        Distribution and link; None for least squares.
    regressions : Regressions
        Estimates as arrays.
    pool : bool
        Whether standard errors use the pooled residual standard deviation.
    """

    design: Design
    family: Family | None
    regressions: Regressions
    pool: bool

    @property
    def group(self) -> str:
        """Name of the grouping factor."""
        return str(self.design.terms[0].group)

    @property
    def levels(self) -> pd.Index:
        """Levels of the grouping factor, in its order."""
        return pd.Index(self.design.terms[0].levels, dtype=object, name=self.group)

    @property
    def ngroups(self) -> int:
        """Number of groups."""
        return len(self.design.terms[0].levels)

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return self.design.nobs

    @property
    def has_scale(self) -> bool:
        """Whether there is a residual variance or dispersion."""
        return self.family is None or self.family.dispersion

    def _by_group(self, values: Any) -> pd.DataFrame:
        return pd.DataFrame(values, self.levels, list(self.design.column_names))

    def coef(self) -> pd.DataFrame:
        """Coefficients, a row a group; NaN where the group does not determine one.

        Rows and columns have the names of ``coef()`` of a mixed model with this
        grouping factor.
        """
        found = self.regressions
        return self._by_group(np.where(found.determined, found.beta, np.nan))

    def fixef(self) -> pd.Series:
        """Mean of the coefficients over the groups that determine them."""
        return self.coef().mean()

    def ranef(self) -> pd.DataFrame:
        """Coefficients as differences from their mean."""
        frame = self.coef()
        return frame - frame.mean()

    # --- spread ---------------------------------------------------------------------

    @cached_property
    def df_by_group(self) -> pd.Series:
        """Residual degrees of freedom of each group: rows minus rank."""
        codes = self.design.terms[0].codes
        weights = self.design.weights
        used = None if weights is None else (weights > 0).astype(float)
        sizes = np.bincount(codes, used, self.ngroups).astype(int)
        fitted = np.isfinite(self.regressions.deviance)
        return pd.Series((sizes - self.regressions.rank) * fitted, self.levels)

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom of all groups together."""
        return int(self.df_by_group.sum())

    @cached_property
    def _squares(self) -> Array:
        """Weighted sum of squared (Pearson) residuals of each group."""
        found = self.regressions
        if self.family is None:
            return found.deviance
        rows = self.family.pearson_residuals(
            self.design.y, self.design.weights, self._means()
        )
        codes = self.design.terms[0].codes
        total = np.bincount(codes, rows**2, self.ngroups)
        return np.where(np.isfinite(found.deviance), total, 0.0)

    @property
    def pooled_sd(self) -> float:
        """Residual standard deviation of all groups together.

        The root of the dispersion for a family that has one; NaN without residual
        degrees of freedom, 1 where the scale is fixed.
        """
        if not self.has_scale:
            return 1.0
        df = self.df_resid
        return float(np.sqrt(self._squares.sum() / df)) if df else float("nan")

    def sd_by_group(self) -> pd.Series:
        """Residual standard deviation of each group; NaN without degrees of freedom."""
        if not self.has_scale:
            return pd.Series(1.0, self.levels)
        df = self.df_by_group.to_numpy()
        empty = np.full(df.size, np.nan)
        return pd.Series(
            np.sqrt(np.divide(self._squares, df, out=empty, where=df > 0)), self.levels
        )

    def bse(self, *, pooled: bool | None = None) -> pd.DataFrame:
        """Standard errors in the shape of `coef`.

        Parameters
        ----------
        pooled : bool, optional
            One residual standard deviation for all groups; by default as `pool` says.
        """
        sd, _ = self._scale(pooled)
        variance = np.diagonal(self.regressions.unscaled, axis1=1, axis2=2)
        known = np.where(self.regressions.determined, variance, np.nan)
        return self._by_group(np.sqrt(known) * sd[:, None])

    def _scale(self, pooled: bool | None) -> tuple[Array, Array]:
        """Standard deviation and degrees of freedom of each group's tests."""
        if not self.has_scale:
            return np.ones(self.ngroups), np.full(self.ngroups, np.inf)
        if self.pool if pooled is None else pooled:
            sd, df = self.pooled_sd, float(self.df_resid) or np.nan
            return np.full(self.ngroups, sd), np.full(self.ngroups, df)
        df_each = self.df_by_group.to_numpy(dtype=float)
        return self.sd_by_group().to_numpy(), np.where(df_each > 0, df_each, np.nan)

    def confint(
        self, level: float = 0.95, *, pooled: bool | None = None
    ) -> pd.DataFrame:
        """Intervals by t, or by z where the scale is fixed.

        Parameters
        ----------
        level : float
            Coverage.
        pooled : bool, optional
            One residual standard deviation for all groups, so that intervals differ
            in width only as the groups' designs do; by default as `pool` says.

        Returns
        -------
        DataFrame
            Index (group, term); columns ``estimate``, ``lower``, ``upper``.

        Raises
        ------
        OptionError
            If `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise OptionError(
                f"level={level!r} is not a coverage.", "It must be between 0 and 1."
            )
        _, df = self._scale(pooled)
        half = self.bse(pooled=pooled).mul(stats.t.isf((1.0 - level) / 2.0, df), axis=0)
        estimate = self.coef()
        columns = {
            "estimate": estimate,
            "lower": estimate - half,
            "upper": estimate + half,
        }
        return self._long(columns)

    def _long(self, columns: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        names = list(self.design.column_names)
        index = pd.MultiIndex.from_product([self.levels, names])
        index = index.set_names([self.group, "term"])
        values = {key: frame.to_numpy().ravel() for key, frame in columns.items()}
        return pd.DataFrame(values, index)

    def plot(self, **options: Any) -> Any:
        """Intervals by group; see `lme.report.plots.plot_within_groups`."""
        from lme.report.plots import plot_within_groups

        return plot_within_groups(self, **options)

    # --- rows -----------------------------------------------------------------------

    def _means(self) -> Array:
        eta = self.regressions.eta
        lost = ~np.isfinite(self.regressions.deviance)[self.design.terms[0].codes]
        mean = eta if self.family is None else self.family.mean(eta)
        return np.where(lost, np.nan, mean)

    @property
    def fittedvalues(self) -> pd.Series:
        """Fitted means of the rows, each from its own group."""
        return label_rows(self.design, self._means())

    @property
    def resid(self) -> pd.Series:
        """``y`` minus fitted means."""
        return label_rows(self.design, self.design.y - self._means())

    # --- words ----------------------------------------------------------------------

    def notes(self) -> list[str]:
        """What is incomplete about the fits."""
        found = self.regressions
        lost = ~np.isfinite(found.deviance)
        partial = ~found.determined.all(axis=1) & ~lost
        slow = ~found.converged & ~lost
        return [
            f"{words} in {int(flags.sum())} of {self.ngroups} groups: "
            f"{self._named(flags)}."
            for words, flags in (
                ("The fit failed (NaN)", lost),
                ("Not all coefficients are determined (NaN)", partial),
                ("The fit did not converge", slow),
                ("Fitted means reach their bound (infinite estimates)", self._bound()),
            )
            if flags.any()
        ]

    def _bound(self) -> NDArray[np.bool_]:
        """Groups that their predictors separate."""
        if self.family is None or self.family.link.name == "identity":
            return np.zeros(self.ngroups, dtype=bool)
        mean = self._means()
        if self.family.name in ("bernoulli", "binomial"):
            mean = np.minimum(mean, 1.0 - mean)
        codes = self.design.terms[0].codes
        return np.bincount(codes, np.abs(mean) < _BOUND, self.ngroups) > 0

    def _named(self, flags: NDArray[np.bool_]) -> str:
        names = [str(name) for name in self.levels[flags]]
        return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")

    def summary(self, *, pooled: bool | None = None) -> WithinGroupSummary:
        """Tests of all coefficients, by t, or by z where the scale is fixed."""
        _, df = self._scale(pooled)
        estimate, se = self.coef(), self.bse(pooled=pooled)
        ratio = estimate / se
        tails = self._by_group(2.0 * stats.t.sf(np.abs(ratio.to_numpy()), df[:, None]))
        letter = "t" if self.has_scale else "z"
        columns = {"estimate": estimate, "se": se, letter: ratio, "p": tails}
        return WithinGroupSummary(
            self._long(columns), self._caption(), self._scale_words
        )

    def _caption(self) -> str:
        kind = (
            "Linear" if self.family is None else f"Generalized linear ({self.family})"
        )
        return f"{kind} regressions within {self.ngroups} groups: {self.design.formula}"

    @property
    def _scale_words(self) -> str:
        if not self.has_scale:
            return f"{self.nobs} observations; scale fixed at 1"
        return (
            f"{self.nobs} observations; residual standard deviation "
            f"{number(self.pooled_sd)} on {self.df_resid} degrees of freedom (pooled)"
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        frame = self.coef()
        rows = [
            [str(name), *(number(value) for value in values)]
            for name, values in zip(
                frame.index[:_SHOWN], frame.to_numpy(), strict=False
            )
        ]
        return [self.group, *frame.columns], rows

    def __repr__(self) -> str:
        header, rows = self._cells()
        more = self.ngroups - len(rows)
        tail = f"\n... and {more} more groups" if more else ""
        body = table(rows, header, left=(0,))
        return f"{self._caption()}\n\n{body}{tail}\n\n{self._scale_words}"

    def _repr_html_(self) -> str:
        header, rows = self._cells()
        return html_table(rows, header)
