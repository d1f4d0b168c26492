"""A fitted result as a model of the marginaleffects package.

marginaleffects (Arel-Bundock) computes predictions, comparisons and slopes at the rows
of the data or of a grid, with standard errors by the delta method. It knows packages by
name; this one comes to it as a model class of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DesignError, FitError, OptionError
from lme.formula.records import Design
from lme.formula.syntax import variables_of
from lme.formula.values import Factor
from lme.generalized import GLMMFit
from lme.inference.hypotheses import wald
from lme.inference.marginal.reference_grid import predictors_of

Array = NDArray[np.float64]


def for_marginaleffects(result: Any, type: str = "response") -> Any:
    """A model that ``predictions``, ``comparisons`` and ``slopes`` accept.

    Parameters
    ----------
    result : LMMResults or GLMMResults
        Fitted from a formula.
    type : {"response", "link"}
        Scale of predictions.

    Returns
    -------
    ModelAbstract
        Of marginaleffects. Predictions are those of the population, with random
        effects of zero; the covariance is that of the fixed effects, and tests are
        normal.

    Raises
    ------
    FitError
        If marginaleffects is not installed.
    DesignError
        For a model that was made from arrays.
    DataError
        If the model does not hold its data.

    Examples
    --------
    >>> import lme
    >>> from lme.marginal_effects import for_marginaleffects
    >>> data = lme.datasets.load("Orthodont")
    >>> res = lme.lmer("distance ~ age * Sex + (age | Subject)", data).fit()
    >>> from marginaleffects import avg_slopes  # doctest: +SKIP
    >>> avg_slopes(for_marginaleffects(res), variables="age")  # doctest: +SKIP
    """
    try:
        import polars as pl
        from marginaleffects.classes.model import ModelAbstract, ModelVault
    except ImportError:
        raise FitError(
            "The package marginaleffects is not installed.",
            "It makes predictions, comparisons and slopes.",
            "Install it with `pip install marginaleffects`, or use res.emmeans().",
        ) from None
    if type not in ("response", "link"):
        raise OptionError(
            f"type={type!r} is not known.", "It must be 'response' or 'link'."
        )
    fit = result.fit_record
    design = fit.design
    names = list(dict.fromkeys([*predictors_of(design).names, *_offset_names(design)]))

    class Adapted(ModelAbstract):  # type: ignore[misc]
        """The fit as marginaleffects looks at it."""

        # Its tests are by t with these: normal.
        df_resid = float("inf")

        def validation(self) -> None:
            """Types of the variables; nothing else is left to check."""
            self.vault.variables_type = {
                column.name: _type_word(column) for column in self.vault.modeldata
            }

        def get_exog(self, newdata: Any) -> Array:
            """Columns of X and the offset, (m, p + 1)."""
            rows = design.new(newdata, random="none")
            if rows.offset_missing:
                raise DataError(
                    "The model has an offset= array, which new rows do not have.",
                    "",
                    "Write offset(x) in the formula.",
                )
            offset = np.zeros(len(newdata)) if rows.offset is None else rows.offset
            return np.column_stack([rows.X[:, fit.kept_columns], offset])

        def get_predict(self, params: Any, newdata: Any) -> Any:
            """Means of the population at rows of `get_exog`."""
            rows = np.asarray(newdata, dtype=float)
            mean = rows[:, :-1] @ np.asarray(params, dtype=float) + rows[:, -1]
            if type == "response" and isinstance(fit, GLMMFit):
                mean = fit.family.mean(mean)
            rowid = pl.Series(range(len(mean)), dtype=pl.Int32)
            return pl.DataFrame({"rowid": rowid, "estimate": mean})

        def get_vcov(self, vcov: Any = True) -> Any:
            """Covariance of the fixed effects."""
            return wald.covariance(fit, result._cov_type()) if vcov is True else None

        def get_df(self) -> float:
            """Degrees of freedom of joint tests."""
            return self.df_resid

    vault = ModelVault(
        coef=fit.beta,
        coefnames=np.array(result.model.exog_names),
        formula=_no_formula,
        modeldata=_columns(result, pl),
        variable_names=[design.y_name, *names],
        package="lme",
    )
    return Adapted(result, vault)


def _offset_names(design: Design) -> list[str]:
    """Variables of offsets."""
    if design.recipe is None:
        return []
    terms = design.recipe.terms
    nodes = [terms.nodes[i] for i in terms.offsets]
    if design.recipe.offset is not None:
        nodes.append(design.recipe.offset)
    return [name.name for node in nodes for name in variables_of(node)]


def _columns(result: Any, pl: Any) -> Any:
    """The rows used as a polars frame, factors with their levels in order."""
    design = result.fit_record.design
    frame = result.model.data.frame
    if frame is None:
        raise DataError(
            "The result does not hold its data.",
            "Predictions are made at the rows of the data.",
            "Fit the model again.",
        )
    if not isinstance(frame, pd.DataFrame):
        frame = pd.DataFrame(frame) if isinstance(frame, dict) else frame.to_pandas()
    if not frame.index.is_unique:
        raise DataError(
            "The rows of the data have labels that repeat.",
            "Each row needs one of its own.",
            "Call data.reset_index(drop=True) before the model is made.",
        )
    if design.predictors is None:
        raise DesignError("The model was made from arrays.")
    rows = frame.loc[design.index]
    columns = {}
    for name in map(str, rows.columns):
        values = rows[name]
        if values.isna().any():
            continue
        if name in design.predictors.names:
            own = design.predictors[name].values
            if isinstance(own, Factor):
                texts = [str(value) for value in values]
                columns[name] = pl.Series(texts, dtype=pl.Enum(list(own.levels)))
                continue
        if (
            isinstance(values.dtype, pd.CategoricalDtype)
            or values.dtype.kind not in "ifb"
        ):
            texts = [str(value) for value in values]
            columns[name] = pl.Series(texts, dtype=pl.Enum(list(dict.fromkeys(texts))))
        else:
            columns[name] = pl.Series(values.to_numpy())
    if design.y_name not in columns:
        columns[design.y_name] = pl.Series(design.y)
    return pl.DataFrame(columns)


def _type_word(column: Any) -> str:
    """What marginaleffects calls the type of a column."""
    if not column.dtype.is_numeric():
        return "boolean" if str(column.dtype) == "Boolean" else "character"
    values = column.to_numpy()
    if np.isin(values, [0, 1]).all():
        return "binary"
    return "integer" if values.dtype.kind in "iu" else "numeric"


def _no_formula(newdata: Any) -> tuple[None, Any]:
    """In place of a formula, which marginaleffects would read by its own rules."""
    return None, newdata
