"""The summary of a mixed model, and its one-table short form."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.generalized import GLMMFit
from lme.inference import estimates
from lme.inference.components import residual_deviation, variance_components
from lme.inference.coverage import check_alpha, check_digits
from lme.inference.diagnostics.residuals import scaled_quantiles
from lme.inference.held_elements import held_text
from lme.inference.hypotheses import wald
from lme.inference.hypotheses.ddf import Denominator
from lme.inference.known_levels import known_text
from lme.inference.residual_structure import (
    structure_frame,
    structure_text,
    structure_words,
)
from lme.inference.robust.sandwich import Sandwich
from lme.inference.text import abbreviate, number, p_value
from lme.inference.working import MixedFit
from lme.report.grid import Grid
from lme.report.tables import Report, simple_table

FORMULA_WIDTH = 68
COV_WORDS = {
    "hessian": "from the Hessian of the log-likelihood",
    "rx": "from the working model, theta taken as known (rx)",
}
NO_DDF = (
    "Tests are by z because degrees of freedom would take long in a model of this "
    "size; summary(ddf='satterthwaite') computes them."
)
HELD = "Standard errors and degrees of freedom take the residual structure as known."
MAX_CORRELATIONS = 20
"""Number of fixed effects up to which their correlations are printed."""


def title(fit: MixedFit) -> str:
    """``Linear mixed model fit by REML`` or ``... by maximum likelihood``."""
    if isinstance(fit, GLMMFit):
        return f"Generalized linear mixed model fit by maximum likelihood{_nodes(fit)}"
    return f"Linear mixed model fit by {'REML' if fit.reml else 'maximum likelihood'}"


def summarize(
    fit: MixedFit,
    *,
    cov_type: wald.CovType = None,
    data_name: str = "",
    alpha: float = 0.05,
    correlation: bool | None = None,
    digits: int = 4,
    quantiles: NDArray[np.float64] | None = None,
    warnings: Sequence[str] = (),
    ddf: Denominator | None = None,
) -> Report:
    """The full summary in sections.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    cov_type : str or Sandwich, optional
        Kind of standard errors; see `wald.covariance`.
    data_name : str
        Name of the data where it is known.
    alpha : float
        One minus the coverage of the confidence intervals.
    correlation : bool, optional
        Print the correlations of the fixed effects; by default up to 20 of them.
    digits : int
        Significant digits of the smallest variance component.
    quantiles : ndarray, shape (5,), optional
        Quantiles of the scaled residuals, where the data are no longer at hand.
    warnings : sequence of str
        Warnings to repeat as notes.
    ddf : Denominator, optional
        Degrees of freedom of t tests, from `contrasts.denominator`; by default tests
        are by z.

    Returns
    -------
    Report
        A statsmodels ``Summary``: ``as_text``, ``as_html``, ``as_latex``, ``as_csv``.
    """
    alpha, digits = check_alpha(alpha), check_digits(digits)
    if quantiles is None:
        quantiles = scaled_quantiles(fit)
    tables = [
        _description(fit, data_name, cov_type),
        _statistics(fit),
        *_residuals(fit, quantiles),
        _components(fit, digits),
        *_structure(fit),
        _coefficients(fit, alpha, cov_type, ddf),
    ]
    p = fit.beta.size
    if correlation is None:
        correlation = p <= MAX_CORRELATIONS
    if correlation and p > 1:
        tables.append(_correlations(fit, cov_type))
    return Report(title(fit), tables, notes(fit, warnings))


def _residuals(fit: MixedFit, quantiles: NDArray[np.float64]) -> list[Any]:
    """Quantiles of the residuals; nothing where there are no rows to have them."""
    if not fit.mu.size and np.isnan(quantiles).all():
        return []
    texts = ["" if np.isnan(q) else f"{q:.4f}" for q in quantiles]
    names = ["Min", "1Q", "Median", "3Q", "Max"]
    return [simple_table([texts], names, title="Scaled residuals:", aligns="rrrrr")]


def _description(fit: MixedFit, data_name: str, cov_type: wald.CovType) -> Any:
    verdict = fit.convergence
    lines = wrap(fit.design.formula, FORMULA_WIDTH, break_long_words=False) or [""]
    rows = [["Formula:", lines[0]], *(["", line] for line in lines[1:])]
    if data_name:
        rows.append(["Data:", data_name])
    used = "REML" if fit.reml else "ML"
    if isinstance(fit, GLMMFit):
        rows.append(["Family:", f"{fit.family.name} ({fit.family.link.name} link)"])
        used = f"ML, {_approximation(fit)}"
    count = verdict.evaluations
    searched = f"{count} evaluation{'s' if count != 1 else ''}"
    rows += [
        ["Method:", f"{used}; {verdict.kernel} kernel, {searched}"],
        ["Search:", _verdict(fit)],
    ]
    if known_text(fit):
        rows.append(["Levels:", f"known covariance between those of {known_text(fit)}"])
    for line in wrap(held_text(fit), FORMULA_WIDTH, break_long_words=False):
        rows.append(["Held:" if "Held:" not in rows[-1] else "", line])
    if isinstance(cov_type, Sandwich):
        words = f"cluster-robust, {cov_type.words} ({cov_type.count} clusters)"
        rows.append(["Std. errors:", words])
    elif isinstance(fit, GLMMFit):
        rows.append(["Std. errors:", COV_WORDS[cov_type or "hessian"]])
    if isinstance(fit, GLMMFit) and fit.family.extra is not None:
        name = "Dispersion:" if fit.family.dispersion else "Theta:"
        rows.append([name, number(fit.extra)])
    return simple_table(rows, aligns="ll")


def _nodes(fit: GLMMFit) -> str:
    if fit.nAGQ > 1:
        return f" (quadrature, {fit.nAGQ} nodes)"
    return " (Laplace)" if fit.nAGQ else " (nAGQ=0)"


def _approximation(fit: GLMMFit) -> str:
    """How the likelihood was approximated, in words."""
    if fit.nAGQ > 1:
        return f"adaptive quadrature with {fit.nAGQ} nodes"
    if fit.nAGQ == 0:
        return "nAGQ=0: coefficients from PIRLS"
    if fit.family.canonical:
        return "Laplace approximation"
    return f"Laplace approximation ({fit.laplace} information)"


def _statistics(fit: MixedFit) -> Any:
    n = estimates.row_count(fit)
    npar = estimates.parameter_count(fit)
    criteria = {
        "REML criterion" if fit.reml else "-2 log L": fit.objective,
        "logLik": estimates.log_likelihood(fit),
    }
    if isinstance(fit, GLMMFit):
        criteria["deviance"] = fit.deviance
    criteria |= {
        "AIC": estimates.aic(fit),
        "AICc": estimates.aicc(fit),
        "BIC": estimates.bic(fit),
    }
    header = [*criteria, "npar", "df resid"]
    cells = [f"{value:.4f}" for value in criteria.values()]
    cells += [str(npar), str(n - npar)]
    return simple_table([cells], header, aligns="r" * len(header))


def _components(fit: MixedFit, digits: int) -> Any:
    header, rows = variance_components(fit).printed(digits)
    levels = ", ".join(f"{k} {v}" for k, v in estimates.group_sizes(fit).items())
    name = (
        f"Random effects ({estimates.row_count(fit)} observations; levels: {levels}):"
    )
    return simple_table(rows, header, title=name, aligns="ll" + "r" * (len(header) - 2))


def _structure(fit: MixedFit) -> list[Any]:
    """The parameters of a residual structure."""
    text = structure_text(fit)
    if not text:
        return []
    title = f"Residual structure {text}; sigma {number(fit.sigma)}:"
    frame = structure_frame(fit)
    if frame.empty:
        return [simple_table([["nothing estimated"]], title=title)]
    rows = [[term, name, number(v)] for term, name, v in frame.to_numpy()]
    return [
        simple_table(rows, ["", "Parameter", "Estimate"], title=title, aligns="llr")
    ]


def coefficient_cells(
    fit: MixedFit,
    alpha: float,
    cov_type: wald.CovType = None,
    ddf: Denominator | None = None,
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table of fixed effects."""
    frame = wald.coefficient_table(fit, alpha, cov_type, ddf)
    low, high = f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"
    letter = "z" if "z" in frame else "t"
    middle = ["df"] if letter == "t" else []
    header = ["", "coef", "std err", *middle, letter, f"P>|{letter}|", low, high]
    rows = []
    for name, row in zip(frame.index, frame.to_dict("records"), strict=True):
        cells = [number(row["estimate"]), number(row["se"])]
        cells += [f"{row[column]:.2f}" for column in middle]
        cells += [number(row[letter], 3), p_value(row["p"])]
        rows.append([str(name), *cells, number(row["lower"]), number(row["upper"])])
    return header, rows


def test_words(ddf: Denominator | None) -> str:
    """The reference distribution and what made its degrees of freedom."""
    if ddf is None or ddf.label == "normal":
        return "z (normal)"
    return f"t ({ddf.label})"


def _coefficients(
    fit: MixedFit, alpha: float, cov_type: wald.CovType, ddf: Denominator | None
) -> Any:
    header, rows = coefficient_cells(fit, alpha, cov_type, ddf)
    if not rows:
        return simple_table([["Fixed effects: none"]])
    title = f"Fixed effects, tests by {test_words(ddf)}:"
    return simple_table(rows, header, title=title)


def _correlations(fit: MixedFit, cov_type: wald.CovType) -> Any:
    names = estimates.coefficient_names(fit)
    corr = wald.correlations(fit, cov_type)
    rows = []
    for i in range(1, len(names)):
        cells = [f"{corr[i, j]:.3f}" if j < i else "" for j in range(len(names) - 1)]
        rows.append([names[i], *cells])
    return simple_table(
        rows,
        ["", *abbreviate(names[:-1])],
        title="Correlation of fixed effects:",
    )


def notes(fit: MixedFit, warnings: Sequence[str] = ()) -> list[str]:
    """What a reader of the estimates has to know.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    warnings : sequence of str
        Warnings given on the way.

    Returns
    -------
    list of str
        The warnings, and a verdict that is not plainly good.
    """
    found = list(warnings)
    if _verdict(fit) != "converged":
        found.append(fit.convergence.message)
    if structure_text(fit):
        found.append(HELD)
    return list(dict.fromkeys(found))


def _verdict(fit: MixedFit) -> str:
    verdict = fit.convergence
    if not verdict.converged:
        return "not converged"
    if not verdict.unique:
        return "converged, variance parameters not unique"
    return "converged, singular" if verdict.singular else "converged"


def short_cells(
    fit: MixedFit,
    cov_type: wald.CovType = None,
    ddf: Denominator | None = None,
    p_style: str = "bound",
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the one-table short form.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    cov_type, ddf, p_style
        As in `compact`.

    Returns
    -------
    header : list of str
        Estimate, standard error, t or z, p and a column of standard deviations a
        grouping factor.
    rows : list of list of str
        A row a fixed effect, then the random-effects columns without one, then the
        residual where there is one, whose standard deviation stands under ``Est.``.
    """
    frame = wald.coefficient_table(fit, cov_type=cov_type, ddf=ddf)
    letter = "z" if "z" in frame else "t"
    components = variance_components(fit).components
    groups = list(dict.fromkeys(part.group for part in components))
    deviations: dict[str, dict[str, float]] = {group: {} for group in groups}
    for part in components:
        for name, sd in zip(part.columns, part.sd, strict=True):
            deviations[part.group].setdefault(name, float(sd))
    extra = [n for d in deviations.values() for n in d if n not in frame.index]
    rows = []
    for name in [*frame.index, *dict.fromkeys(extra)]:
        cells = [""] * 4
        if name in frame.index:
            row = frame.loc[name]
            cells = [number(row["estimate"]), number(row["se"])]
            cells += [number(row[letter], 2), p_value(row["p"], p_style)]
        sds = [deviations[group].get(name, np.nan) for group in groups]
        rows.append([str(name), *cells, *map(number, sds)])
    sigma = residual_deviation(fit)
    if sigma is not None:
        rows.append(["Residual", number(sigma), "", "", "", *[""] * len(groups)])
    columns = [f"σ_{group}" for group in groups]  # noqa: RUF001
    return ["", "Est.", "SE", letter, "p", *columns], rows


def caption(fit: MixedFit, ddf: Denominator | None = None) -> str:
    """Lines that name the model, the criterion, the size of the data, and the tests."""
    levels = ", ".join(f"{k} {v}" for k, v in estimates.group_sizes(fit).items())
    label = "REML criterion" if fit.reml else "-2 log L"
    size = f"{estimates.row_count(fit)} observations; levels: {levels}"
    head = f"{title(fit)}: {fit.design.formula}"
    if isinstance(fit, GLMMFit):
        head = f"{head}, {fit.family}"
    if structure_words(fit):
        head = f"{head}, {structure_words(fit)}"
    tests = f"\nTests by {test_words(ddf)}" if fit.beta.size else ""
    return f"{head}\n{label} {fit.objective:.4f}; {size}{tests}"


def compact(
    fit: MixedFit,
    cov_type: wald.CovType = None,
    ddf: Denominator | None = None,
    p_style: str = "bound",
) -> Grid:
    """The short form, for the prompt, notebooks and documents.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    cov_type, ddf
        As in `summarize`.
    p_style : {"bound", "r", "fixed"}
        How small p-values are written; see `text.p_value`.
    """
    header, rows = short_cells(fit, cov_type, ddf, p_style)
    return Grid(caption(fit, ddf), tuple(header), tuple(map(tuple, rows)))
