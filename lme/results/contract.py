"""The ground of every result: the record of the fit, and statsmodels' bases."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodModelResults, ResultMixin

from lme.errors import FitError
from lme.inference import estimates
from lme.inference.diagnostics import residuals
from lme.inference.hypotheses import contrasts, wald
from lme.inference.hypotheses import ddf as ddf_methods
from lme.inference.robust.sandwich import Sandwich
from lme.inference.working import MixedFit
from lme.partitions.design import PartitionedDesign
from lme.signatures import checked

if TYPE_CHECKING:
    from lme.specification import MixedModel

Array = NDArray[np.float64]


def user_level() -> int:
    """Frames from the caller of this function to the user's code."""
    level, frame = 0, inspect.currentframe()
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("lme", "statsmodels", "functools"):
            break
        level, frame = level + 1, frame.f_back
    return level


def computed(function: Callable[[MixedFit], Any], doc: str) -> property:
    """A read-only property that computes from the record of the fit."""
    return property(lambda result: function(result.fit_record), doc=doc)


def recorded(name: str, doc: str) -> property:
    """A read-only property that is a field of the record of the fit."""
    return computed(attrgetter(name), doc)


class Contract(LikelihoodModelResults, ResultMixin):
    """A fitted model as statsmodels expects it; the parts of a result build on it.

    Parameters
    ----------
    model : LMM or GLMM
        The model that was fitted.
    record : Fit or GLMMFit
        Everything that was estimated, as a frozen record.
    scale : float
        Residual variance or dispersion; 1 where it is fixed.
    """

    model: Any
    fit_record: MixedFit
    robust_record: Sandwich | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Methods are one call each and check nothing; types are checked here, once.
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, checked(method))

    def __init__(self, model: MixedModel, record: MixedFit, scale: float) -> None:
        super().__init__(model, record.beta, scale=scale)
        self.fit_record = record
        self.nobs = estimates.row_count(record)
        self.df_model = record.beta.size - int(model.k_constant)
        self._cache: dict[str, Any] = {}

    @property
    def _is_light(self) -> bool:
        return bool(self.fit_record.mu.size < self.nobs)

    @property
    def _has_sums(self) -> bool:
        """Whether the result of data in partitions holds its cross-products."""
        record = self.fit_record
        summed = isinstance(record.design, PartitionedDesign)
        return summed and record.problem is not None

    def _need_data(self, what: str, *, rows: bool = True) -> None:
        """Refuse what needs the data, or their cross-products, where they are gone."""
        if not self._is_light or (self._has_sums and not rows):
            return
        if self._has_sums:
            raise FitError(
                f"{what} needs all rows in memory, and the data are in partitions.",
                "Estimates, tests, intervals, anova and predict do without.",
                "res.predict(data) and res.simulate(newdata=data) work by partitions.",
            )
        raise FitError(
            f"{what} needs the data, which remove_data took away.",
            "The result must hold its data.",
            "Fit the model again.",
        )

    def _constraint(self, hypothesis: Any) -> tuple[Array, Array]:
        return wald.linear_constraint(self.model.exog_names, hypothesis)

    def _denominator(self, ddf: str) -> ddf_methods.Denominator:
        """A method for degrees of freedom, prepared once for each result."""
        key = f"ddf {ddf_methods.method_name(self.fit_record, ddf)}"
        if key not in self._cache:
            if key[4:] not in ddf_methods.DATA_FREE:
                counts_rows = key[4:] in ddf_methods.ROWS_NEEDED
                self._need_data(f"ddf={ddf!r}", rows=counts_rows)
            record, cov_type = self.fit_record, self._cov_type()
            self._cache[key] = contrasts.denominator(record, key[4:], cov_type)
        found: ddf_methods.Denominator = self._cache[key]
        return found

    @property
    def ddf(self) -> str:
        """Method behind p-values and intervals where none is named.

        A key of `DDF_METHODS`: "satterthwaite" for a linear mixed model, "z" for a
        generalized one and where Satterthwaite's would take very long.
        """
        if "default ddf" not in self._cache:
            self._cache["default ddf"] = ddf_methods.default_method(self.fit_record)
        return str(self._cache["default ddf"])

    @property
    def use_t(self) -> bool:
        """Whether tests and intervals are by t and F rather than normal."""
        return self.ddf != "z"

    def _summary_cache(self, key: str, compute: Callable[[], Any]) -> Any:
        """A value that `remove_data` leaves; statsmodels has this from 0.15 on."""
        cache = self.__dict__.setdefault("_summary_statistics_cache", {})
        if key not in cache:
            cache[key] = compute()
        return cache[key]

    def _quantiles(self) -> Any:
        compute = partial(residuals.scaled_quantiles, self.fit_record)
        return self._summary_cache("quantiles", compute)

    def _cov_type(self) -> wald.CovType:
        """Kind of standard errors, where there is a choice."""
        return self.robust_record
