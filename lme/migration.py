"""From statsmodels' ``MixedLM`` to a linear mixed model with the same likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLM

from lme.errors import DataTypeError, OptionError
from lme.inference.components import unique_names
from lme.inference.text import number, table
from lme.model import LMM
from lme.translation.formulas import translated_design
from lme.translation.terms import OldTerm, old_terms

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Migration:
    """A ``MixedLM`` as a linear mixed model, with a map of its parameters.

    Attributes
    ----------
    model : LMM
        With the same likelihood, not yet fitted.
    formula : str or None
        Its formula in lme4's notation; None where the model is made of matrices.
    parameters : DataFrame
        A row a parameter: ``old`` (its name in ``MixedLM``), ``new`` (what it is here),
        ``get`` (how to get it from a result) and ``old_value`` (the estimate on the
        scale of MixedLM's summary, where a result was given).
    reml : bool
        Whether the old fit was by REML; True where there was none.
    """

    model: LMM
    formula: str | None
    parameters: pd.DataFrame
    reml: bool
    _places: tuple[tuple[Any, ...], ...]

    def fit(self, **options: Any) -> Any:
        """Fit the model, by the criterion of the old fit unless `reml` is given."""
        return self.model.fit(**{"reml": self.reml, **options})

    def compare(self, result: Any) -> pd.DataFrame:
        """`parameters` with the values of a result in ``new_value``.

        Parameters
        ----------
        result : LMMResults
            A fit of `model`.
        """
        record = getattr(result, "fit_record", None)
        if record is None or record.design.formula != self.model.design.formula:
            raise OptionError(
                "The argument is not a fit of this model.",
                "Expected what migration.fit() returned.",
            )
        values = [_value(result, place) for place in self._places]
        return self.parameters.assign(new_value=values)

    def __repr__(self) -> str:
        text = self.formula or f"from matrices: {self.model.design.formula}"
        header = ["MixedLM", "lme", "from a result"]
        rows = [[*map(str, row)] for row in self.parameters.iloc[:, :3].to_numpy()]
        if self.parameters["old_value"].notna().any():
            header.append("estimate")
            for row, value in zip(rows, self.parameters["old_value"], strict=True):
                row.append(number(float(value)))
        return f"{text}\n\n{table(rows, header, left=(0, 1, 2))}"


def from_mixedlm(
    source: Any,
    data: Any = None,
    *,
    groups: Any = None,
    re_formula: str | None = None,
    vc_formula: Any = None,
    free: Any = None,
    **options: Any,
) -> Migration:
    """The linear mixed model that a ``MixedLM`` of statsmodels stands for.

    Parameters
    ----------
    source : MixedLM, its results, or str
        A model, fitted or not; or the formula of one, with the arguments of
        ``statsmodels.formula.api.mixedlm`` after it.
    data, groups, re_formula, vc_formula, **options
        For a formula, as in ``mixedlm``.
    free : MixedLMParams, optional
        The argument of ``MixedLM.fit``; taken from results where those are given.
        Covariances that are held at zero become separate terms.

    Returns
    -------
    Migration
        The model is made from a formula where one gives the same matrices, so that it
        predicts from new data; otherwise from the matrices.

    Raises
    ------
    DataTypeError
        If `source` is none of these.
    OptionError
        For what has no counterpart: penalties, parameters held at values other than
        zero, and variance components with very many columns in a row.

    Notes
    -----
    A variance component is a random effect for each column of its matrix, with one
    variance. Indicator columns become levels of a grouping factor, other columns a
    term of the structure ``homdiag``.

    Examples
    --------
    >>> import statsmodels.formula.api as smf
    >>> import lme
    >>> from lme.migration import from_mixedlm
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> old = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject")
    >>> migration = from_mixedlm(old)
    >>> migration.formula
    'Reaction ~ Days + (1 | Subject)'
    >>> migration.parameters[["old", "new"]]
               old                       new
    0    Intercept               (Intercept)
    1         Days                      Days
    2  Subject Var  Subject: var (Intercept)
    3        Scale         residual variance
    """
    model, results = _old_model(source, data, groups, re_formula, vc_formula, options)
    if results is not None and free is None:
        free = getattr(results, "freepat", None)
    _check_penalties(model, results)
    terms = old_terms(model, free, results)
    found = translated_design(model, terms, re_formula)
    if found is not None:
        formula, frame, columns, places = found
        new = LMM.from_formula(formula, frame)
    else:
        formula = None
        new, columns, places = _from_arrays(model, terms)
    names = unique_names(term.group for term in new.design.terms)
    labels = [[new.design.terms[k].columns[j] for j in order] for k, order in places]
    rows, where = _parameters(model, terms, columns, places, labels, names, results)
    frame = pd.DataFrame(rows, columns=["old", "new", "get", "old_value"])
    reml = True if results is None else bool(results.reml)
    return Migration(new, formula, frame, reml, tuple(where))


def _old_model(
    source: Any, data: Any, groups: Any, re_formula: Any, vc_formula: Any, options: Any
) -> tuple[Any, Any]:
    """The MixedLM, and its results where there are any."""
    given = {"data": data, "groups": groups}
    given |= {"re_formula": re_formula, "vc_formula": vc_formula, **options}
    if isinstance(source, str):
        if data is None or groups is None:
            raise OptionError(
                "A formula needs data and groups.",
                "Expected from_mixedlm(formula, data, groups=...), as for mixedlm.",
            )
        wanted = {k: v for k, v in given.items() if v is not None}
        try:
            return MixedLM.from_formula(source, **wanted), None
        except Exception as error:
            # patsy and statsmodels raise many kinds.
            raise OptionError(
                f"statsmodels cannot build this MixedLM: {error}.",
                "Expected the arguments of statsmodels.formula.api.mixedlm.",
            ) from error
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name!r} goes with a formula.",
                "A model or a result has its own.",
            )
    results = getattr(source, "_results", source)
    model = source if isinstance(source, MixedLM) else getattr(results, "model", None)
    if not isinstance(model, MixedLM):
        raise DataTypeError(
            f"source is of type {type(source).__name__}.",
            "Expected a MixedLM of statsmodels, its results, or a formula.",
        )
    if model.endog is None or model.exog is None:
        raise OptionError(
            "The MixedLM does not hold its data.",
            "remove_data took them away, or they were never stored.",
            "Build it again.",
        )
    return model, (None if results is source and source is model else results)


def _check_penalties(model: Any, results: Any) -> None:
    penalties = [getattr(model, name, None) for name in ("fe_pen", "cov_pen", "re_pen")]
    if results is not None and not hasattr(results, "reml"):
        penalties.append("fit_regularized")
    if any(penalty is not None for penalty in penalties):
        raise OptionError(
            "The MixedLM was fitted with a penalty.",
            "A penalized likelihood has no counterpart here.",
            "Fit it without fe_pen, cov_pen and fit_regularized.",
        )


def _from_arrays(
    model: Any, terms: list[OldTerm]
) -> tuple[LMM, list[str], list[tuple[int, tuple[int, ...]]]]:
    """The model of the same matrices; its columns, and the place of each old term."""
    columns = [
        "(Intercept)" if name == "Intercept" else str(name) for name in model.exog_names
    ]
    groups: dict[str, Any] = {}
    parts: dict[str, list[pd.DataFrame]] = {}
    structure: dict[str, str] = {}
    owners: list[tuple[str, int]] = []
    for term in terms:
        name = term.group
        while name in groups and (
            structure[name] != term.structure
            or not np.array_equal(groups[name], term.labels)
            or term.structure != "us"
        ):
            name += "'"
        groups.setdefault(name, term.labels)
        structure[name] = term.structure
        frame = pd.DataFrame(term.values, columns=list(term.columns))
        owners.append((name, len(parts.setdefault(name, []))))
        parts[name].append(frame)
    endog = pd.Series(np.asarray(model.endog), name=str(model.endog_names))
    exog = pd.DataFrame(np.asarray(model.exog), columns=columns)
    new = LMM(
        endog,
        exog if exog.shape[1] else None,
        groups,
        exog_re=parts,
        structure=structure,
    )
    by_group: dict[str, list[int]] = {}
    for k, made in enumerate(new.design.terms):
        by_group.setdefault(made.group, []).append(k)
    places = [
        (by_group[name][i], tuple(range(len(term.columns))))
        for (name, i), term in zip(owners, terms, strict=True)
    ]
    return new, columns, places


def _parameters(
    model: Any,
    terms: list[OldTerm],
    columns: list[str],
    places: list[tuple[int, tuple[int, ...]]],
    labels: list[list[str]],
    names: tuple[str, ...],
    results: Any,
) -> tuple[list[list[Any]], list[tuple[Any, ...]]]:
    """Rows of the map, and for each where its value is in a result."""
    estimates = _estimates(results)
    rows: list[list[Any]] = []
    where: list[tuple[Any, ...]] = []
    for i, (old, new) in enumerate(zip(model.exog_names, columns, strict=True)):
        value = estimates["fe"][i] if estimates else np.nan
        rows.append([str(old), new, f"fixef()[{new!r}]", value])
        where.append(("fixed", new))
    for term, (k, order), shown in zip(terms, places, labels, strict=True):
        for entry in term.entries:
            a, b = (order[j] for j in entry.position)
            i, j = max(a, b), min(a, b)
            label = [shown[x] for x in entry.position]
            what = f"var {label[0]}" if i == j else f"cov {label[0]}, {label[1]}"
            get = f"VarCorr()[{names[k]!r}].loc[{label[0]!r}, {label[1]!r}]"
            value = estimates[entry.source][entry.index] if estimates else np.nan
            rows.append([entry.old, f"{names[k]}: {what}", get, value])
            where.append(("term", names[k], i, j))
    scale = float(results.scale) if results is not None else np.nan
    rows.append(["Scale", "residual variance", "scale", scale])
    where.append(("scale",))
    return rows, where


def _estimates(results: Any) -> dict[str, Any]:
    """Estimates on the scale of the summary, of what the old result has."""
    if results is None:
        return {}
    return {
        "fe": np.asarray(results.fe_params, dtype=float),
        "re": np.asarray(results.cov_re, dtype=float),
        "vc": np.asarray(results.vcomp, dtype=float),
    }


def _value(result: Any, place: tuple[Any, ...]) -> float:
    if place[0] == "fixed":
        fixed = result.fixef()
        return float(fixed[place[1]]) if place[1] in fixed.index else float("nan")
    if place[0] == "term":
        return float(result.VarCorr()[place[1]].to_numpy()[place[2], place[3]])
    return float(result.scale)
