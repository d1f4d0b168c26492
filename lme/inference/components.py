"""Variance components: `VarCorr`, names of `theta`, principal components."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme import fixing
from lme.covariance import STRUCTURES
from lme.errors import GroupError, OptionError, near
from lme.generalized import GLMMFit
from lme.inference.text import html_table, markdown_table, numbers, table
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


def term_names(fit: MixedFit) -> tuple[str, ...]:
    """Names of the random-effects terms, unique as lme4 makes them.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    tuple of str
        The grouping factor of each term; the second term on a factor ``Subject``
        is called ``Subject.1``, the third ``Subject.2``.
    """
    return unique_names(term.group for term in fit.design.terms)


def unique_names(groups: Iterable[str]) -> tuple[str, ...]:
    """Names of terms from their grouping factors: ``Subject``, ``Subject.1``."""
    seen: dict[str, int] = {}
    names = []
    for group in groups:
        count = seen.get(group, 0)
        names.append(f"{group}.{count}" if count else group)
        seen[group] = count + 1
    return tuple(names)


def theta_names(fit: MixedFit) -> list[str]:
    """lme4's names of the elements of ``theta``.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    list of str
        ``Subject.(Intercept)``, ``Subject.Days.(Intercept)``, ``Subject.Days``:
        one name for each free element of the relative factors, down the columns. For
        a structure with a pattern, standard deviations and ``Subject.cor``.
    """
    return fixing.theta_names(fit.design)


def residual_deviation(fit: MixedFit) -> float | None:
    """Residual standard deviation, or root of the dispersion; None if fixed at 1."""
    if isinstance(fit, GLMMFit):
        return math.sqrt(fit.extra) if fit.family.dispersion else None
    return fit.sigma


@dataclass(frozen=True)
class Component:
    """Covariance of the random effects of one term.

    Attributes
    ----------
    name : str
        Unique name of the term: its grouping factor, with ``.1`` and so on for the
        second and later terms of a factor.
    group : str
        Grouping factor.
    columns : tuple of str
        Names of the p columns.
    cov : ndarray, shape (p, p)
        Covariance on the scale of the response squared.
    diagonal : bool
        True where the correlations are zero by construction.
    """

    name: str
    group: str
    columns: tuple[str, ...]
    cov: Array
    diagonal: bool

    @cached_property
    def sd(self) -> Array:
        """Standard deviations, shape (p,)."""
        deviations: Array = np.sqrt(np.diag(self.cov))
        return deviations

    @cached_property
    def corr(self) -> Array:
        """Correlations, shape (p, p); NaN beside a standard deviation of zero."""
        scale = np.where(self.sd > 0, self.sd, np.nan)
        corr: Array = np.clip(self.cov / np.outer(scale, scale), -1.0, 1.0)
        np.fill_diagonal(corr, 1.0)
        return corr


COMPONENTS = ("Variance", "Std.Dev.")
"""Sizes of a variance component that `VarCorr` prints."""


@dataclass(frozen=True, repr=False)
class VarCorr(Mapping[str, pd.DataFrame]):
    """Variances, standard deviations and correlations of the random effects.

    A mapping from the name of a term to its covariance matrix (a frame), and a
    table when printed.

    Attributes
    ----------
    components : tuple of Component
        One record a random-effects term, in the order of the terms.
    sigma : float or None
        Residual standard deviation; None where the scale is fixed.

    Notes
    -----
    ``Var(b) = sigma^2 lambda lambda'`` for the random effects ``b`` of one level,
    with ``lambda`` the relative covariance factor of the term.
    """

    components: tuple[Component, ...]
    sigma: float | None

    def __getitem__(self, name: str) -> pd.DataFrame:
        for part in self.components:
            if part.name == name:
                return pd.DataFrame(part.cov, list(part.columns), list(part.columns))
        raise GroupError(name, self)

    def __iter__(self) -> Iterator[str]:
        return (part.name for part in self.components)

    def __len__(self) -> int:
        return len(self.components)

    def to_frame(self, order: str = "cov.last") -> pd.DataFrame:
        """The components as rows, with lme4's columns and order.

        Parameters
        ----------
        order : {"cov.last", "lower.tri"}
            Within a term: all variances, then all covariances; or the lower triangle
            column by column.

        Returns
        -------
        DataFrame
            Columns ``grp``, ``var1``, ``var2`` (NaN for a variance), ``vcov``
            (variance or covariance) and ``sdcor`` (standard deviation or
            correlation). The residual is the last row, where there is one.
            Covariances that are zero by construction have no row.

        Raises
        ------
        OptionError
            If `order` is neither of the two.
        """
        if order not in ("cov.last", "lower.tri"):
            raise OptionError(
                f"order={order!r} is not known.",
                "It must be 'cov.last' or 'lower.tri'.",
            )
        none = np.nan  # pandas 2 would show None as such
        rows: list[tuple[str, str | float, str | float, float, float]] = []
        for part in self.components:
            p = len(part.columns)
            pairs = [(i, j) for j in range(p) for i in range(j, p)]
            if part.diagonal:
                pairs = [(i, i) for i in range(p)]
            elif order == "cov.last":
                pairs.sort(key=lambda pair: pair[0] != pair[1])
            for i, j in pairs:
                second = none if i == j else part.columns[i]
                size = part.sd[i] if i == j else part.corr[i, j]
                rows.append(
                    (part.name, part.columns[j], second, part.cov[i, j], float(size))
                )
        if self.sigma is not None:
            rows.append(("Residual", none, none, self.sigma**2, self.sigma))
        frame = pd.DataFrame(rows, columns=["grp", "var1", "var2", "vcov", "sdcor"])
        return frame.astype({"var1": object, "var2": object})

    def printed(
        self, digits: int = 4, comp: Sequence[str] = COMPONENTS
    ) -> tuple[list[str], list[list[str]]]:
        """Header and cells of the table that ``print`` shows.

        Parameters
        ----------
        digits : int
            Significant digits of the smallest value of a column.
        comp : sequence of {"Variance", "Std.Dev."}
            The columns of sizes, in this order.

        Returns
        -------
        header : list of str
            ``Groups``, ``Name``, the columns of `comp`, and a column of correlations
            for each but the last column of the widest term.
        rows : list of list of str
            One row a random-effects column and one for the residual, where there is
            one. A correlation that is zero by construction shows as a dot.

        Raises
        ------
        OptionError
            If `comp` has another word.
        """
        chosen = [comp] if isinstance(comp, str) else list(comp)
        for word in chosen:
            if word not in COMPONENTS:
                raise OptionError(
                    f"comp has {word!r}, which is not known.",
                    f"It may have {' and '.join(map(repr, COMPONENTS))}.",
                    near(str(word), COMPONENTS),
                )
        frame = self.to_frame()
        frame = frame[frame["var2"].isna()]
        sizes = {
            "Variance": numbers(frame["vcov"], digits),
            "Std.Dev.": numbers(frame["sdcor"], digits),
        }
        columns = list(zip(*(sizes[word] for word in chosen), strict=True))
        columns = columns or [()] * len(frame)
        width = max((len(part.columns) for part in self.components), default=1) - 1
        rows: list[list[str]] = []
        for part in self.components:
            for i, name in enumerate(part.columns):
                corr = [_correlation(part, i, j) for j in range(i)]
                group = part.name if i == 0 else ""
                corr += [""] * (width - len(corr))
                rows.append([group, name, *columns[len(rows)], *corr])
        if self.sigma is not None:
            rows.append(["Residual", "", *columns[-1], *[""] * width])
        titles = ["Corr" if j == 0 else "" for j in range(width)]
        return ["Groups", "Name", *chosen, *titles], rows

    def to_text(self, digits: int = 4, comp: Sequence[str] = COMPONENTS) -> str:
        """The table as text, with `printed`'s options."""
        header, rows = self.printed(digits, comp)
        return table(rows, header, left=(0, 1))

    def to_markdown(self, digits: int = 4, comp: Sequence[str] = COMPONENTS) -> str:
        """The table in Markdown, with `printed`'s options."""
        header, rows = self.printed(digits, comp)
        return markdown_table(rows, header, left=(0, 1))

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        header, rows = self.printed()
        return html_table(rows, header)


def _correlation(part: Component, i: int, j: int) -> str:
    return "." if part.diagonal else f"{part.corr[i, j]:.3f}"


def variance_components(fit: MixedFit) -> VarCorr:
    """Variances and correlations of the random effects and the residual.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    VarCorr
        On the scale of the response squared (variances) and of the response
        (standard deviations); of the linear predictor for a generalized model.

    Notes
    -----
    ``cov_k = sigma^2 lambda_k lambda_k'`` for term k of a linear model, and without
    ``sigma^2`` for a generalized one, whatever its dispersion.
    """
    parts = tuple(
        Component(
            name,
            term.group,
            tuple(term.columns),
            fit.sigma**2 * (factor @ factor.T),
            STRUCTURES[term.structure].independent,
        )
        for name, term, factor in zip(
            term_names(fit), fit.design.terms, fit.lambdas, strict=True
        )
    )
    return VarCorr(parts, residual_deviation(fit))


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of the random effects of one grouping factor.

    Attributes
    ----------
    columns : tuple of str
        Names of the k random-effects columns.
    sdev : ndarray, shape (k,)
        Standard deviations of the components relative to sigma, decreasing.
    rotation : ndarray, shape (k, k)
        Loadings; column j belongs to ``sdev[j]``.
    """

    columns: tuple[str, ...]
    sdev: Array
    rotation: Array

    @property
    def proportion(self) -> Array:
        """Share of each component in the total variance, shape (k,)."""
        variance = self.sdev**2
        total = float(variance.sum())
        share: Array = variance / total if total > 0 else np.full_like(variance, np.nan)
        return share

    def to_frame(self) -> pd.DataFrame:
        """Standard deviation, proportion and cumulative proportion as rows."""
        names = [f"PC{i + 1}" for i in range(self.sdev.size)]
        return pd.DataFrame(
            [self.sdev, self.proportion, np.cumsum(self.proportion)],
            index=["Standard deviation", "Proportion", "Cumulative proportion"],
            columns=names,
        )


def principal_components(
    fit: MixedFit, *, corr: bool = False
) -> dict[str, PrincipalComponents]:
    """Principal components of the random effects of each grouping factor.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    corr : bool
        Components of the correlations, as in MixedModels.jl, which do not depend on
        the units of the columns; otherwise of the covariances.

    Returns
    -------
    dict of str to PrincipalComponents
        One record a grouping factor; its terms are put together block-diagonally.

    Notes
    -----
    The singular value decomposition of the relative factor, as lme4's ``rePCA``; with
    `corr` of the factor with rows of length one. MixedModels.jl prints the cumulative
    proportions of the latter. A component of standard deviation 0 is a direction
    without variance.

    References
    ----------
    Bates, Kliegl, Vasishth and Baayen (2015), Parsimonious mixed models,
    arXiv:1506.04967.
    """
    records = {}
    for group in dict.fromkeys(term.group for term in fit.design.terms):
        picked = [k for k, term in enumerate(fit.design.terms) if term.group == group]
        columns = [name for k in picked for name in fit.design.terms[k].columns]
        factor = np.zeros((len(columns), len(columns)))
        start = 0
        for k in picked:
            stop = start + fit.lambdas[k].shape[0]
            factor[start:stop, start:stop] = fit.lambdas[k]
            start = stop
        if corr:
            length = np.sqrt(np.sum(factor**2, axis=1, keepdims=True))
            factor = factor / np.where(length > 0, length, 1.0)
        rotation, sdev, _ = np.linalg.svd(factor)
        records[group] = PrincipalComponents(tuple(columns), sdev, rotation)
    return records
