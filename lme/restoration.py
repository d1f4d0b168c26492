"""Fits that were stored with ``save_fit``, made again from their data."""

from __future__ import annotations

from typing import Any

import numpy as np

from lme.errors import DataError, DataTypeError, LMEError, OptionError
from lme.families import Family
from lme.formula.design import Design
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.glmm import GLMM
from lme.inference.hypotheses.wald import check_cov_type
from lme.inference.working import MixedFit
from lme.model import LMM
from lme.persistence.description import TEXT_ARGUMENTS, family_of
from lme.persistence.document import Reader, read
from lme.persistence.evaluation import record_at
from lme.persistence.fingerprints import of_arrays, of_data
from lme.results import GLMMResultsWrapper, LMMResultsWrapper
from lme.specification import MixedModel


def restore_fit(
    path: Any, data: Any = None, *, model: Any = None, atol: float = 1e-6
) -> LMMResultsWrapper | GLMMResultsWrapper:
    """The results of a fit that ``save_fit`` stored, without another search.

    Parameters
    ----------
    path : str or path-like
        The file.
    data : frame or mapping, optional
        The data of the fit.
    model : LMM or GLMM, optional
        The model, in place of `data`: for models from matrices, and where an argument
        such as `weights` was an array or `context` held functions.
    atol : float
        How far the objective at the stored parameters may be from the stored one,
        beside a relative difference of 1e-9.

    Returns
    -------
    LMMResults or GLMMResults
        As from ``fit``.

    Raises
    ------
    DataError
        If the file is damaged, if formula or data are not those of the fit, or if the
        objective differs.
    OptionError
        If an argument of the model was not stored and no `model` is given.

    Notes
    -----
    The file is JSON and holds no data: the design is made again from `data`, and the
    criterion is evaluated once at the stored parameters. Nothing in the file is run as
    code. Random effects, fitted values and standard errors are computed again.

    Examples
    --------
    >>> import lme, tempfile, pathlib
    >>> from lme.restoration import restore_fit
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> res = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "sleep.json"
    >>> res.save_fit(path)
    >>> restore_fit(path, sleep).params.round(3)
    (Intercept)    251.405
    Days            10.467
    dtype: float64
    >>> folder.cleanup()
    """
    if (data is None) == (model is None):
        raise OptionError(
            "restore_fit needs the data of the fit.",
            "Expected either data or model=.",
            "Write restore_fit(path, data).",
        )
    _check_atol(atol)
    stored = read(path)
    if stored.text("kind") not in ("lmm", "glmm"):
        raise stored.wrong("kind", "'lmm' or 'glmm'")
    if model is None:
        model = _build(stored, data)
    elif not isinstance(model, MixedModel):
        raise DataTypeError(
            f"model is of type {type(model).__name__}.",
            "Expected an LMM or a GLMM.",
            "Data go into restore_fit(path, data).",
        )
    _check_model(stored, model)
    _check_design(stored, model.design)
    family = model.family if isinstance(model, GLMM) else None
    record = _record(stored, model.design, family)
    _check_objective(stored, record, atol)
    if isinstance(record, GLMMFit):
        cov_type = stored.part("fit").text("cov_type")
        check_cov_type(cov_type)
        found: GLMMResultsWrapper = model._results(record, cov_type)
        return found
    linear: LMMResultsWrapper = model._results(record)
    return linear


def _check_atol(atol: Any) -> None:
    number = isinstance(atol, (int, float, np.integer, np.floating))
    if not number or isinstance(atol, bool) or not 0.0 <= float(atol) < np.inf:
        raise OptionError(
            f"atol={atol!r} is not a tolerance.", "Expected a number >= 0."
        )


def _build(stored: Reader, data: Any) -> MixedModel:
    """The model of the file from data."""
    source = stored.source
    missing = stored.texts("arguments_not_stored")
    if missing or stored.flag("from_arrays"):
        what = "was made from matrices"
        if missing:
            what = f"had {', '.join(f'{name}=' for name in missing)} as objects"
        raise OptionError(
            f"The model of {source!r} {what}, which the file does not hold.",
            "Expected the model itself.",
            "Build it as before and pass restore_fit(path, model=model).",
        )
    _check_rows(stored, Table(data).nrow)
    arguments = dict(stored.mapping("arguments"))
    formula = stored.text("formula")
    kind = stored.text("kind")
    known = LMM.known_options if kind == "lmm" else GLMM.known_options
    for name in arguments:
        if name not in known:
            raise stored.wrong(f"arguments: {name}", f"an argument of {kind}")
    try:
        if kind == "lmm":
            return LMM.from_formula(formula, data, **arguments)
        family = family_of(stored.part("arguments").mapping("family"))
        return GLMM.from_formula(formula, data, **arguments | {"family": family})
    except LMEError as error:
        raise DataError(
            f"The model of {source!r} cannot be built from these data. {error}",
            "Expected the data of the fit.",
        ) from error
    except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        # Arguments of a wrong type, in a file that was tampered with.
        raise stored.wrong("arguments", f"those of a model ({error})") from error


def _check_rows(stored: Reader, rows: int) -> None:
    then = stored.part("data").whole("rows")
    if then != rows:
        raise DataError(
            f"The data have {rows} rows, those of the stored fit had {then}.",
            "Expected the data of the fit, before rows are left out.",
        )


def _check_model(stored: Reader, model: MixedModel) -> None:
    """The formula and the data have to be those of the stored fit."""
    formula = stored.text("formula")
    if model.design.formula != formula:
        raise DataError(
            f"The formula of the model is {model.design.formula!r}.",
            f"That of the stored fit is {formula!r}.",
            "Build the model with the same formula.",
        )
    kind = "glmm" if isinstance(model, GLMM) else "lmm"
    if kind != stored.text("kind"):
        raise DataError(
            f"The model is of the kind {kind!r}.",
            f"That of the stored fit is {stored.text('kind')!r}.",
        )
    if isinstance(model, GLMM):
        _check_family(stored, model.family)
    arguments = stored.mapping("arguments")
    texts = tuple(
        text for text in map(arguments.get, TEXT_ARGUMENTS) if isinstance(text, str)
    )
    frame = model.data.frame
    if model.design.recipe is None:
        _compare(stored, of_arrays(model.design))
        return
    if frame is None:
        raise DataError(
            "The model does not hold the data it was made from.",
            "Expected the data of the fit.",
            "Build the model again, or pass restore_fit(path, data).",
        )
    _compare(stored, of_data(model.design, frame, texts))


def _check_family(stored: Reader, family: Family) -> None:
    if not stored.part("arguments").has("family"):
        return
    then = family_of(stored.part("arguments").mapping("family"))
    if then != family:
        raise DataError(
            f"The family of the model is {family}.",
            f"That of the stored fit is {then}.",
        )


def _compare(stored: Reader, now: dict[str, Any]) -> None:
    """Refuse data with other fingerprints, and say what is different."""
    _check_rows(stored, now["rows"])
    then = stored.part("data").parts("columns")
    for name in {**then, **now["columns"]}:
        if name not in now["columns"] or name not in then:
            where = "stored fit" if name in then else "model"
            raise DataError(
                f"The column {name!r} is used by the {where} only.",
                "Expected the data of the fit.",
            )
        for key, found in now["columns"][name].items():
            if key in ("values", "labels") and (
                not then[name].has(key) or then[name].text(key) != found
            ):
                raise DataError(
                    f"The column {name!r} is not that of the stored fit"
                    f"{_difference(then[name], now['columns'][name])}.",
                    "Expected the data of the fit, in the same order of rows.",
                )


def _difference(then: Reader, now: dict[str, Any]) -> str:
    """What tells two columns apart, in words."""
    for key, word in (("missing", "missing values"), ("levels", "levels")):
        if key in now and then.has(key) and then.whole(key) != now[key]:
            return f": it has {now[key]} {word}, then {then.whole(key)}"
    if "mean" in now and then.has("mean"):
        old = then.number("mean", finite=False)
        if not np.isclose(old, now["mean"], rtol=1e-10, atol=0.0, equal_nan=True):
            return f": its mean is {now['mean']:.6g}, then {old:.6g}"
    return ": some values or their order changed"


def _check_design(stored: Reader, design: Design) -> None:
    """Columns, terms and levels have to be the same."""
    part = stored.part("design")
    if part.whole("nobs") != len(design.index):
        raise DataError(
            f"{len(design.index)} rows are used, the stored fit used "
            f"{part.whole('nobs')}.",
            "Expected the same rows to be left out.",
        )
    if part.texts("columns") != design.column_names:
        raise DataError(
            f"The fixed effects have the columns {', '.join(design.column_names)}.",
            f"Those of the stored fit are {', '.join(part.texts('columns'))}.",
            "Look at the types and the order of the categories of the data.",
        )
    then = [
        (
            term.text("group"),
            term.texts("columns"),
            term.whole("levels"),
            term.text("structure"),
        )
        for term in part.records("terms")
    ]
    now = [(t.group, t.columns, len(t.levels), t.structure) for t in design.terms]
    if then != now:
        raise DataError(
            f"The random effects are {_words(now)}.",
            f"Those of the stored fit are {_words(then)}.",
        )


def _words(terms: list[tuple[str, tuple[str, ...], int, str]]) -> str:
    return "; ".join(
        f"({' + '.join(columns)} | {group}) with {levels} levels"
        for group, columns, levels, _ in terms
    )


def _record(stored: Reader, design: Design, family: Family | None) -> MixedFit:
    try:
        with np.errstate(all="ignore"):
            return record_at(stored, design, family)
    except (np.linalg.LinAlgError, ArithmeticError):
        raise stored.wrong("estimates", "what a fit can end at") from None


def _check_objective(stored: Reader, record: MixedFit, atol: float) -> None:
    then = stored.part("estimates").number("objective")
    if not abs(record.objective - then) <= atol + 1e-9 * abs(then):
        raise DataError(
            "The model at the stored parameters does not match the stored objective "
            f"within atol={atol:g}: it is {record.objective:.10g}, then {then:.10g}.",
            "Expected the data and the parameters of the fit.",
            "Fit the model again.",
        )
