"""Means over a reference grid, their contrasts and trends, with tests and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.inference.marginal.contrast_families import ContrastFamily, read_contrasts
from lme.inference.marginal.estimability import Basis, weighted
from lme.inference.marginal.multiplicity import (
    Family,
    adjusted_p,
    adjustment_name,
    critical_values,
)
from lme.inference.marginal.response_scale import ResponseScale
from lme.inference.marginal.wording import html_of, level_labels, text_of

Array = NDArray[np.float64]

TYPES = ("link", "response")
RESERVED = ("estimate", "se", "df", "lower", "upper", "t", "z", "p")
"""Columns of frames beside those of the variables."""


@dataclass(frozen=True)
class MarginalMeans:
    """Estimated marginal means, contrasts of them, or trends.

    Made by ``emmeans`` and ``emtrends`` of a result. Estimates are
    ``constant + L beta`` on the scale of the linear predictor.

    Attributes
    ----------
    labels : DataFrame
        A row an estimate: values of the variables, or names of contrasts.
    L : (m, p0) array
        For all columns of the model, dropped ones included.
    constant : (m,) array
        Of offsets, and of the response scale after `regrid`.
    basis : Basis
    kind : {"means", "contrasts", "trends"}
    name : str
        What the estimates are called, such as ``emmean``.
    by : tuple of str
        Columns of `labels` that form groups; contrasts and adjustments stay inside.
    scale : ResponseScale or None
    type : {"link", "response"}
        Scale that is shown.
    averaged : str
        What was averaged over, and with which weights.
    family : ContrastFamily or None
        Of contrasts.
    means : int
        Number of means that contrasts are made of.
    adjust : str
        Adjustment of p-values and intervals.
    level : float
        Coverage of the intervals.
    infer : (bool, bool)
        Whether intervals and tests are printed; `to_frame` has both.
    null : float
        Value tested, on the scale of the linear predictor.
    notes : tuple of str
    """

    labels: pd.DataFrame
    L: Array = field(repr=False)
    constant: Array = field(repr=False)
    basis: Basis = field(repr=False)
    kind: Literal["means", "contrasts", "trends"]
    name: str
    by: tuple[str, ...] = ()
    scale: ResponseScale | None = None
    type: str = "link"
    averaged: str = ""
    family: ContrastFamily | None = None
    means: int = 0
    adjust: str = "none"
    level: float = 0.95
    infer: tuple[bool, bool] = (True, False)
    null: float = 0.0
    notes: tuple[str, ...] = ()

    # --- numbers ------------------------------------------------------------------

    def _linear(self) -> tuple[Array, Array, Array]:
        """Estimates, standard errors and degrees of freedom; NaN if not estimable."""
        method = self.basis.method
        good = self.basis.estimable(self.L)
        rows = self.L[:, self.basis.kept]
        estimate = np.full(len(rows), np.nan)
        se, df = estimate.copy(), estimate.copy()
        part = rows[good]
        estimate[good] = part @ method.beta + self.constant[good]
        se[good] = np.sqrt(np.einsum("qi,ij,qj->q", part, method.covariance, part))
        df[good] = [method.df(row[None]) if row.any() else np.nan for row in part]
        return estimate, se, df

    def _groups(self) -> list[NDArray[np.intp]]:
        """Positions of the estimates of each group."""
        if not self.by:
            return [np.arange(len(self.labels))]
        found = self.labels.groupby(list(self.by), sort=False, observed=True)
        return [np.asarray(rows, dtype=np.intp) for rows in found.indices.values()]

    def _family(self, rows: NDArray[np.intp]) -> Family:
        """The family of estimates in these rows."""
        L = self.L[rows][self.basis.estimable(self.L[rows])][:, self.basis.kept]
        V = L @ self.basis.method.covariance @ L.T
        scale = np.sqrt(np.maximum(V.diagonal(), np.finfo(float).tiny))
        correlation = V / np.outer(scale, scale)
        rank = int(np.linalg.matrix_rank(correlation, hermitian=True)) if len(L) else 0
        pairs = self.family is not None and self.family.all_pairs
        return Family(len(L), self.means if pairs else 0, correlation, rank)

    @property
    def adjusted_by(self) -> str:
        """The adjustment used: Tukey's is for one set of pairwise differences."""
        pairs = self.family is not None and self.family.all_pairs
        return "sidak" if self.adjust == "tukey" and not pairs else self.adjust

    def to_frame(self) -> pd.DataFrame:
        """Estimates, tests and intervals.

        Returns
        -------
        DataFrame
            The columns of `labels` (with an underscore behind a name that is one of
            the following), then ``estimate``, ``se``, ``df``, ``lower``,
            ``upper``, ``t`` (``z`` for the normal distribution) and ``p``. What cannot
            be estimated is NaN. With ``type="response"`` estimates, standard errors
            (by the delta method) and limits are those of the response, or ratios;
            statistics and p-values remain those of the linear predictor.
        """
        estimate, se, df = self._linear()
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (estimate - self.null) / se
        p, half = np.full(t.size, np.nan), np.full(t.size, np.nan)
        for rows in self._groups():
            family = self._family(rows)
            p[rows] = adjusted_p(t[rows], df[rows], self.adjusted_by, family)
            critical = critical_values(df[rows], self.level, self.adjusted_by, family)
            half[rows] = critical * se[rows]
        lower, upper = estimate - half, estimate + half
        link = self._link()
        if link is not None:
            se = np.abs(link.first(estimate)) * se
            ends = np.sort([link.mean(lower), link.mean(upper)], axis=0)
            estimate, lower, upper = link.mean(estimate), ends[0], ends[1]
        found = self.labels.rename(columns={name: f"{name}_" for name in RESERVED})
        if link is not None and self.kind == "contrasts":
            names = found.iloc[:, 0].astype(str)
            found.isetitem(0, [name.replace(" - ", " / ") for name in names])
        found["estimate"], found["se"], found["df"] = estimate, se, df
        found["lower"], found["upper"] = lower, upper
        found[self.statistic] = t
        found["p"] = p
        found.attrs |= {"ddf": self.basis.method.label, "adjust": self.adjusted_by}
        return found

    def _link(self) -> Any:
        """The link that is undone, or None."""
        if self.type != "response" or self.scale is None:
            return None
        if self.kind == "means":
            return self.scale.link
        is_ratio = self.family is not None and self.family.differences
        return self.scale.ratio_link if is_ratio and self.scale.ratio else None

    @property
    def statistic(self) -> str:
        """``z`` for the normal distribution, else ``t``."""
        return "z" if self.basis.method.label == "normal" else "t"

    @property
    def estimate_name(self) -> str:
        """What the estimates are called on the scale that is shown."""
        if self._link() is None or self.scale is None:
            return self.name
        return self.scale.mean if self.kind == "means" else self.scale.ratio

    @property
    def non_estimable(self) -> int:
        """Number of rows that the data cannot estimate."""
        return int((~self.basis.estimable(self.L)).sum())

    # --- other views --------------------------------------------------------------

    def summary(
        self,
        *,
        infer: bool | tuple[bool, bool] | None = None,
        level: float | None = None,
        adjust: str | None = None,
        type: str | None = None,
        null: float | None = None,
    ) -> MarginalMeans:
        """The same estimates, shown otherwise.

        Parameters
        ----------
        infer : bool or (bool, bool), optional
            Whether intervals and tests are printed.
        level : float, optional
            Coverage of the intervals.
        adjust : str, optional
            A key of `ADJUSTMENTS`, for p-values and intervals.
        type : {"link", "response"}, optional
            Scale.
        null : float, optional
            Value to test, on the scale of the linear predictor.
        """
        return replace(
            self,
            infer=self.infer if infer is None else read_infer(infer),
            level=self.level if level is None else check_level(level),
            adjust=self.adjust if adjust is None else adjustment_name(adjust),
            type=self.type if type is None else check_type(type),
            null=self.null if null is None else float(null),
        )

    def contrast(
        self,
        method: Any = "eff",
        *,
        adjust: str | None = None,
        by: str | Sequence[str] | None = None,
        ref: Any = 0,
        reverse: bool = False,
    ) -> MarginalMeans:
        """Contrasts within each group.

        Parameters
        ----------
        method : str, dict or array_like
            A key of `CONTRAST_FAMILIES`, coefficients by name, or rows of them.
        adjust : str, optional
            A key of `ADJUSTMENTS`; by default that of the family.
        by : str or sequence of str, optional
            Groups; by default those of the means. An empty list: one group.
        ref : str or int
            The control, by its label or position.
        reverse : bool
            Turn differences round.
        """
        name = None if adjust is None else adjustment_name(adjust)
        base = self if by is None else self.grouped(by)
        inner = [c for c in base.labels.columns if c not in base.by]
        labels, L, constant = [], [], []
        rows = np.arange(0)
        for rows in base._groups():
            texts = level_labels(base.labels.iloc[rows][inner])
            (C, names), family = read_contrasts(method, texts, ref=ref, reverse=reverse)
            column = "contrast"
            while column in base.by:
                column += "_"
            frame = pd.DataFrame({column: names})
            for column in base.by:
                frame[column] = base.labels[column].iloc[rows[0]]
            labels.append(frame)
            L.append(weighted(C, base.L[rows]))
            constant.append(C @ base.constant[rows])
        return replace(
            base,
            labels=pd.concat(labels, ignore_index=True),
            L=np.concatenate(L),
            constant=np.concatenate(constant),
            kind="contrasts",
            name="estimate",
            family=family,
            means=rows.size,
            adjust=name or family.adjust,
            infer=(False, True),
            null=0.0,
        )

    def pairs(
        self,
        *,
        adjust: str = "tukey",
        reverse: bool = False,
        by: str | Sequence[str] | None = None,
    ) -> MarginalMeans:
        """All pairwise differences within each group; see `contrast`."""
        return self.contrast("pairwise", adjust=adjust, reverse=reverse, by=by)

    def grouped(self, by: str | Sequence[str]) -> MarginalMeans:
        """The same estimates in other groups."""
        names = (by,) if isinstance(by, str) else tuple(by)
        for name in names:
            if name not in self.labels.columns:
                columns = list(self.labels.columns)
                raise OptionError(
                    f"by names {name!r}, which is no column of the means.",
                    f"They have {', '.join(map(repr, columns))}.",
                    near(name, columns),
                )
        return replace(self, by=names)

    def regrid(self) -> MarginalMeans:
        """Estimates on the scale of the response, so that differences are of means.

        The delta method gives their covariance; intervals are then symmetric on the
        scale of the response.
        """
        if self.scale is None:
            return self
        if self.kind != "means":
            raise OptionError(
                f"regrid() is for means; these are {self.kind}.",
                "Take the means to the response scale first.",
                "Use res.emmeans(...).regrid().contrast(...).",
            )
        eta, _, _ = self._linear()
        link = self.scale.link
        L = link.first(eta)[:, None] * self.L
        beta = self.basis.method.beta
        constant = link.mean(eta) - L[:, self.basis.kept] @ beta
        return replace(
            self,
            L=L,
            constant=np.nan_to_num(constant),
            name=self.scale.mean,
            scale=None,
            type="link",
        )

    def plot(self, **options: Any) -> Any:
        """Estimates with intervals as a figure; see `lme.report.plots`."""
        from lme.report.plots import plot_emmeans

        return plot_emmeans(self, **options)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)


def read_infer(infer: bool | tuple[bool, bool]) -> tuple[bool, bool]:
    """Whether intervals and tests are printed."""
    both = (infer, infer) if isinstance(infer, bool) else infer
    if not isinstance(both, (tuple, list)) or len(both) != 2:
        raise OptionError(
            f"infer={infer!r} is not understood.",
            "It must be True, False, or a pair for intervals and tests.",
        )
    return bool(both[0]), bool(both[1])


def check_level(level: float) -> float:
    """Refuse a coverage outside 0 to 1."""
    if not isinstance(level, (int, float)) or not 0.0 < float(level) < 1.0:
        raise OptionError(
            f"level={level!r} is not a coverage.", "It must lie between 0 and 1."
        )
    return float(level)


def check_type(type: str) -> str:
    """Refuse an unknown scale."""
    if type not in TYPES:
        raise OptionError(
            f"type={type!r} is not known.",
            f"It must be one of {', '.join(map(repr, TYPES))}.",
            near(str(type), TYPES),
        )
    return type
