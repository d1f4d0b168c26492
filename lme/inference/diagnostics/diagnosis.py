"""A short report on the assumptions of a fitted model.

Each line has the number behind it, a verdict in a word, and what to look at next. A
verdict is a hint where to look, not a test to pass: with few rows nothing can be seen,
and with many the slightest departure is beyond chance, so size counts as well.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lme.generalized import GLMMFit
from lme.inference.diagnostics.assumptions import VERDICTS, Check
from lme.inference.diagnostics.count_checks import dispersion, zeros
from lme.inference.diagnostics.group_checks import (
    few_levels,
    group_normality,
    outlying_groups,
)
from lme.inference.diagnostics.row_checks import (
    collinearity,
    convergence,
    outlying_rows,
    row_normality,
    spread_and_fit,
    spread_between_groups,
    standard_scores,
)
from lme.inference.estimates import group_sizes, row_count
from lme.inference.working import MixedFit

__all__ = ["Check", "Diagnosis", "diagnose"]


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The lines of a report; a table when printed.

    Attributes
    ----------
    title : str
        The model, rows and groups.
    checks : tuple of Check
    """

    title: str
    checks: tuple[Check, ...]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    @property
    def verdict(self) -> str:
        """The gravest verdict of all lines."""
        return max((c.verdict for c in self.checks), key=VERDICTS.index, default="ok")

    def to_frame(self) -> pd.DataFrame:
        """One row a line.

        Returns
        -------
        DataFrame
            Indexed by ``check``: ``statistic`` (what the number is), ``value``,
            ``verdict``, ``finding`` and ``next`` (empty where all is well).
        """
        rows = [
            (c.name, c.statistic, c.value, c.verdict, c.finding, c.next) for c in self
        ]
        columns = ["check", "statistic", "value", "verdict", "finding", "next"]
        return pd.DataFrame(rows, columns=columns).set_index("check")

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [self.title, ""]
        margin = " " * (width + 11)
        for check in self.checks:
            head = f"{check.verdict:<9}{check.name:<{width}}  "
            text = textwrap.wrap(check.finding, 88 - len(margin))
            lines.append(head + text[0])
            lines += [margin + line for line in text[1:]]
            if check.next:
                further = textwrap.wrap(check.next, 85 - len(margin))
                lines += [margin + "-> " + further[0]]
                lines += [margin + "   " + line for line in further[1:]]
        counts = Counter(check.verdict for check in self.checks)
        total = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
        return "\n".join([*lines, "", total])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "check", "finding", "next"))
        body = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(cell)}</td>"
                for cell in (check.verdict, check.name, check.finding, check.next)
            )
            + "</tr>"
            for check in self.checks
        )
        caption = html.escape(self.title)
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


def diagnose(fit: MixedFit, *, seed: Any = 0) -> Diagnosis:
    """Look at convergence, residuals, random effects and predictors of a fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    seed : int, Generator, SeedSequence or None
        For the randomized quantile residuals of a generalized model.

    Returns
    -------
    Diagnosis

    Notes
    -----
    Residuals are those given the random effects, over their standard deviations
    (linear models: ``sigma sqrt(1 - h)``), and normal scores of quantile residuals for
    generalized models. Conditional modes are divided by the standard deviation that
    they have under the model, which is less than that of the effects (they are
    shrunken). Correlations with normal quantiles are judged as Filliben (1975).

    References
    ----------
    Filliben (1975), The probability plot correlation coefficient test for normality,
    Technometrics 17:111, doi:10.2307/1268008. Brown and Forsythe (1974), Robust tests
    for the equality of variances, JASA 69:364, doi:10.2307/2285659. Belsley, Kuh and
    Welsch (1980), Regression diagnostics, ch. 3.
    """
    scores = standard_scores(fit, seed)
    checks = [convergence(fit), *few_levels(fit), row_normality(fit, scores)]
    checks += spread_and_fit(fit, scores)
    checks += spread_between_groups(fit, scores)
    checks.append(outlying_rows(fit, scores))
    if isinstance(fit, GLMMFit):
        checks += dispersion(fit)
        checks += zeros(fit, seed)
    checks += group_normality(fit)
    checks += outlying_groups(fit)
    checks += collinearity(fit)
    groups = ", ".join(f"{n:,} {name}" for name, n in group_sizes(fit).items())
    title = f"Diagnosis of {fit.design.formula}\n{row_count(fit):,} rows; {groups}"
    return Diagnosis(title, tuple(checks))
