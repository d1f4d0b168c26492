"""A result as text and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from statsmodels.iolib.summary2 import Summary as Summary2

from lme.errors import OptionError
from lme.inference.hypotheses import ddf as ddf_methods
from lme.report import summary as reports
from lme.report import tidy as frames
from lme.report.grid import Grid
from lme.report.second_summary import summary_frames
from lme.report.tables import Report
from lme.results.contract import Contract


class Reports(Contract):
    """Summary, and what is shown at the prompt and in a notebook."""

    def summary(
        self,
        *,
        alpha: float = 0.05,
        correlation: bool | None = None,
        digits: int = 4,
        ddf: str | None = None,
    ) -> Report:
        """The fit in sections, as a statsmodels ``Summary``; see `lme.report`.

        `ddf` is as in `contrast`: with "z" tests are normal, otherwise by t. By
        default it is that of the result, and the p-values are those of `pvalues`.
        """
        name = ddf_methods.method_name(self.fit_record, ddf or self.ddf)
        warnings = [str(warning) for warning in self.warnings]
        if ddf is None and ddf_methods.is_too_large(self.fit_record, self.ddf):
            warnings.append(reports.NO_DDF)
        return reports.summarize(
            self.fit_record,
            cov_type=self._cov_type(),
            data_name=self.model.data_name,
            alpha=alpha,
            correlation=correlation,
            digits=digits,
            quantiles=self._quantiles(),
            warnings=warnings,
            ddf=self._denominator(name),
        )

    def __repr__(self) -> str:
        return self.compact().as_text()

    def _repr_html_(self) -> str:
        return self.compact().as_html()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def summary2(
        self,
        alpha: float = 0.05,
        float_format: str = "%.4f",
        title: str | None = None,
    ) -> Summary2:
        """The fit as statsmodels' second kind of summary, made of frames.

        Parameters
        ----------
        alpha : float
            One minus the coverage of the intervals.
        float_format : str
            Format of numbers, with one ``%``.
        title : str, optional
            In place of the kind of model.
        """
        return summary_frames(
            self.fit_record,
            cov_type=self._cov_type(),
            ddf=self._denominator(self.ddf),
            data_name=self.model.data_name,
            alpha=alpha,
            float_format=float_format,
            title=title,
        )

    def compact(self, *, p_style: str = "bound") -> Grid:
        """One table: estimates, and standard deviations a grouping factor.

        Parameters
        ----------
        p_style : {"bound", "r", "fixed"}
            How small p-values are written; see `lme.inference.text.p_value`.

        Returns
        -------
        Grid
            Prints as text, shows as HTML in a notebook, and has ``as_markdown``,
            ``as_latex``, ``as_csv``, ``to_frame`` and ``to_great_table``.
        """
        method = self._denominator(self.ddf)
        return reports.compact(self.fit_record, self._cov_type(), method, p_style)

    def to_markdown(self) -> str:
        """`compact` in Markdown."""
        return self.compact().as_markdown()

    def to_great_table(self) -> Any:
        """`compact` as a ``GT`` of the package great_tables, if it is installed."""
        return self.compact().to_great_table()

    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed", "ran_pars"),
        *,
        conf_int: bool = False,
        conf_level: float = 0.95,
        scales: str = "sdcor",
        exponentiate: bool = False,
        ddf: str | None = None,
    ) -> pd.DataFrame:
        """One row an estimate, as R's broom.mixed; see `lme.report.tidy.tidy`."""
        wanted = [effects] if isinstance(effects, str) else effects
        if "ran_vals" in wanted:
            self._need_data("tidy(effects='ran_vals')", rows=False)
        return frames.tidy(
            self.fit_record,
            effects,
            conf_int=conf_int,
            conf_level=conf_level,
            scales=scales,
            exponentiate=exponentiate,
            cov_type=self._cov_type(),
            ddf=self._denominator(ddf or self.ddf),
        )

    def glance(self) -> pd.DataFrame:
        """One row with what describes the fit; see `lme.report.tidy.glance`."""
        record = self.fit_record
        return frames.glance(record, float("nan") if record.reml else self.deviance)

    def augment(self, newdata: Any = None, **options: Any) -> pd.DataFrame:
        """One row an observation: data, fitted values, residuals, leverages.

        Parameters
        ----------
        newdata : frame, optional
            New rows, which get ``.fitted`` alone (and ``.mu`` in a generalized model).
        **options
            For new rows, those of `predict`.

        See Also
        --------
        lme.report.tidy.augment : the columns.
        """
        if newdata is None:
            self._need_data("augment")
            return frames.augment(self.fit_record, self.model.data.frame)
        frame = frames.as_pandas(newdata)
        if frame is None:
            raise OptionError(
                f"newdata is of type {type(newdata).__name__}.",
                "Expected a data frame with the columns of the formula.",
            )
        return frames.augment_new(self, frame, options)
