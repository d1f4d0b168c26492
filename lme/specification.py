"""What linear and generalized mixed models share before they are fitted."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.base.model import LikelihoodModel

from lme.errors import (
    DataError,
    DataTypeError,
    LMEWarning,
    OptionError,
    RankWarning,
    UnavailableError,
    near,
)
from lme.formula.checks import check_design, severities
from lme.formula.design import Design
from lme.formula.revision import revise
from lme.inference.working import MixedFit
from lme.report.labels import DesignData

DESIGN_OPTIONS = ("weights", "offset", "subset", "na_action", "contrasts", "context")
"""Arguments of `lmer` and `glmer` that the design is made with."""

FOREIGN: Mapping[str, str] = {
    "groups": "Write the grouping factor into the formula, as in y ~ x + (1 | g).",
    "re_formula": "Write the slopes into the formula, as in y ~ x + (x | g).",
    "vc_formula": "Nested factors are (1 | g/h), crossed ones (1 | g) + (1 | h).",
    "exog_re": "Write random effects into the formula, as in y ~ x + (x | g).",
    "missing": "na_action says what happens to rows with missing values.",
    "drop_cols": "Remove terms in the formula, as in y ~ a * b - a:b + (1 | g).",
    "eval_env": "A formula never runs Python; context= supplies further variables.",
    "method": "The optimizer is an argument of fit.",
    "start_params": "Starting values are an argument of fit, start=.",
}
"""Arguments of statsmodels' models, and what takes their place."""

Model = TypeVar("Model", bound="MixedModel")


class MixedModel(LikelihoodModel):
    """A design with its options and checks; base of `LMM` and `GLMM`.

    Attributes
    ----------
    design : Design
        Everything that formula and data determine.
    options : dict
        The arguments the model was built with, for `update`.
    checks : dict
        Severity of each check.
    warnings : tuple of LMEWarning
        What the checks found.
    """

    data: Any

    builder: ClassVar[str]
    """Name of the function that builds the model from a formula."""
    known_options: ClassVar[tuple[str, ...]]
    """Its arguments beside formula and data."""
    unwanted: ClassVar[Mapping[str, str]] = {}
    """Arguments that are refused, and the sentence that says why."""

    @classmethod
    def _check_options(cls, options: Mapping[str, Any]) -> None:
        reasons = {**FOREIGN, **cls.unwanted}
        for name in options:
            if name in reasons:
                raise DataTypeError(
                    f"{name!r} is not an argument of {cls.builder}.", reasons[name]
                )
            if name not in cls.known_options:
                raise OptionError(
                    f"{name!r} is not an argument of {cls.builder}.",
                    f"Its arguments are formula, data, {', '.join(cls.known_options)}.",
                    near(name, cls.known_options),
                )

    def _start(
        self,
        design: Design,
        options: dict[str, Any],
        frame: Any,
        *,
        free_scale: bool,
        found: tuple[LMEWarning, ...] = (),
    ) -> None:
        """Run the checks and hand the design to statsmodels."""
        self.design = design
        self.options = options
        self.checks = severities(options.get("checks"))
        sketch = design.sketch
        found = (*found, *check_design(sketch, self.checks, free_scale=free_scale))
        for note in found:
            # The user called lmer, from_formula, from_design, its _prepare, then this.
            warnings.warn(note, stacklevel=6)
        self.warnings: tuple[LMEWarning, ...] = found
        super().__init__(design.y, design.X)
        self.formula = design.formula
        self.data.frame = frame
        self.data_name = str(getattr(frame, "attrs", {}).get("name", ""))

    def _handle_data(
        self, endog: Any, exog: Any, missing: Any, hasconst: Any, **kwargs: Any
    ) -> DesignData:
        return DesignData(self.design)

    @contextmanager
    def _quiet_rank(self) -> Iterator[None]:
        """Without warnings about dependent columns, where the check is ignored."""
        with warnings.catch_warnings():
            if self.checks["rank"] == "ignore":
                warnings.simplefilter("ignore", RankWarning)
            yield

    def _rank(self) -> str:
        return "stop" if self.checks["rank"] == "stop" else "drop"

    def _holding(self: Model, record: MixedFit) -> Model:
        """The model of a fit: a copy where columns were dropped, else itself."""
        if record.kept_columns.size == len(self.design.column_names):
            return self
        model = copy.copy(self)
        model._set_data(DesignData(self.design, record.kept_columns))
        return model

    def _set_data(self, data: DesignData) -> None:
        data.frame = self.data.frame
        self.data = data
        self.endog, self.exog = data.endog, data.exog
        self.k_constant = data.k_constant

    def _with_design(self: Model, design: Design) -> Model:
        """A copy that holds another response."""
        model = copy.copy(self)
        model.design = design
        model._set_data(DesignData(design))
        # The frame still holds the old response: an update from it would mislead.
        model.data.frame = None
        return model

    def loglike(self, params: ArrayLike) -> float:
        """Not defined, because the fixed effects are not all the parameters."""
        raise OptionError(
            "loglike(params) of a mixed model is not available.",
            "The likelihood is profiled over beta and sigma, or depends on theta too.",
            "Use result.llf, or lme.fit.objective_at(result.fit_record, theta).",
        )

    def score(self, params: ArrayLike) -> NoReturn:
        """Not defined, for the same reason as `loglike`."""
        raise _no_derivative("score")

    def hessian(self, params: ArrayLike) -> NoReturn:
        """Not defined, for the same reason as `loglike`."""
        raise _no_derivative("hessian")

    def information(self, params: ArrayLike) -> NoReturn:
        """Not defined, for the same reason as `loglike`."""
        raise _no_derivative("information")

    def predict(self, params: ArrayLike, exog: ArrayLike | None = None) -> Any:
        """Linear predictor of the fixed part, ``exog @ params``.

        Parameters
        ----------
        params : array_like, shape (p,)
            Coefficients.
        exog : array_like, shape (m, p), optional
            Columns of the fixed-effects matrix; by default those of the model.

        Returns
        -------
        ndarray, shape (m,)
            Without random effects and offset. For predictions from data use
            ``result.predict(newdata)``.
        """
        X = self.exog if exog is None else exog
        try:
            X, beta = np.atleast_2d(np.asarray(X, float)), np.asarray(params, float)
        except (TypeError, ValueError):
            X, beta = np.empty((0, 0)), np.empty(1)
        if beta.ndim != 1 or X.ndim != 2 or X.shape[1] != beta.size:
            raise DataError(
                "params and exog do not fit together.",
                f"Expected {len(self.exog_names)} coefficients and as many columns.",
                "For new data use result.predict(newdata).",
            )
        return X @ beta

    def update(
        self: Model, formula: str | None = None, data: Any = None, **changes: Any
    ) -> Model:
        """A changed model, not yet fitted.

        Parameters
        ----------
        formula : str, optional
            New formula; ``.`` stands for the old side, as in ``". ~ . + x"``.
        data : frame, optional
            New data.
        **changes
            Arguments of `lmer` or `glmer` that change.

        Returns
        -------
        LMM or GLMM
            A new model.

        Raises
        ------
        DataError
            If the model does not hold the data it was made from.
        """
        frame = self.data.frame if data is None else data
        if frame is None:
            raise DataError(
                "The model does not hold the data it was made from.",
                "An update evaluates the formula again.",
                f"Pass data=, or build the model with {self.builder}.",
            )
        self._check_options(changes)
        text = self.design.expanded if formula is None else formula
        if formula is not None:
            text = revise(self.design.expanded, formula)
        options = self._changed_options(changes)
        found: Model = type(self).from_formula(text, frame, **options)
        return found

    def _changed_options(self, changes: dict[str, Any]) -> dict[str, Any]:
        return self.options | changes

    def without_rows(self: Model, design: Design) -> Model:
        """A copy that holds `design`, which has no rows, and no data."""
        model = copy.copy(self)
        data = copy.copy(self.data)
        data.design, data.frame = design, None
        data.endog, data.exog = design.y, design.X[:, : len(data.xnames)]
        model.design, model.data = design, data
        model.endog, model.exog = data.endog, data.exog
        hidden = dict.fromkeys(("weights", "offset", "subset", "context"))
        model.options = {k: v for k, v in self.options.items() if k not in hidden}
        return model


def _no_derivative(name: str) -> UnavailableError:
    return UnavailableError(
        f"{name}(params) of a mixed model is not available.",
        "The likelihood is profiled over beta and sigma, or depends on theta too.",
        "result.convergence holds the gradient and the Hessian at the estimates.",
    )
