"""A result as figures; Matplotlib is loaded with the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lme.inference.bootstrap.record import Bootstrap
from lme.inference.profile.profiles import Profile
from lme.report import plots
from lme.results.contract import Contract


class Figures(Contract):
    """Figures of a result.

    Every method returns a Matplotlib figure. One panel can be drawn on ``ax=``, several
    on ``fig=`` or on as many axes.
    """

    def _rows(self) -> tuple[Any, Any]:
        """The user's data and subset, for variables that figures name."""
        options: Mapping[str, Any] = getattr(self.model, "options", None) or {}
        return getattr(self.model.data, "frame", None), options.get("subset")

    def plot_fit(self, **options: Any) -> Any:
        """Data and lines by group, in panels; see `lme.report.plots.plot_fit`.

        Options: `x`, `group`, `levels`, `lines`, `order`, `aspect`, `max_panels`.
        """
        self._need_data("plot_fit")
        return plots.plot_fit(self.fit_record, *self._rows(), **options)

    def plot_ranef(self, kind: str = "caterpillar", **options: Any) -> Any:
        """Conditional modes with intervals; see `lme.report.plots.plot_ranef`.

        `kind` is "caterpillar", "qq" or "scatter"; options: `group`, `term`, `level`,
        `order`.
        """
        self._need_data("plot_ranef", rows=False)
        return plots.plot_ranef(self.ranef(), kind=kind, **options)

    def plot_shrinkage(self, **options: Any) -> Any:
        """Groups alone and in the model; see `lme.report.plots.plot_shrinkage`.

        Options: `group`, `term`, `labels`.
        """
        self._need_data("plot_shrinkage")
        return plots.plot_shrinkage(self.fit_record, **options)

    def plot_resid(self, x: str = "fitted", **options: Any) -> Any:
        """Residuals over fitted values or a variable; see `plots.plot_resid`.

        Options: `kind`, `type`, `scaled`, `standardize`, `smooth`, `jitter`, `color`,
        `labels`, `seed`.
        """
        self._need_data("plot_resid")
        return plots.plot_resid(self.fit_record, *self._rows(), x=x, **options)

    def plot_scale_location(self, **options: Any) -> Any:
        """Size of residuals; see `lme.report.plots.plot_scale_location`.

        Options: `labels`, `seed`.
        """
        self._need_data("plot_scale_location")
        return plots.plot_scale_location(self.fit_record, **options)

    def plot_qq(self, **options: Any) -> Any:
        """Residuals and normal quantiles; see `lme.report.plots.plot_qq`.

        Options: `kind`, `type`, `scaled`, `standardize`, `level`, `labels`, `seed`.
        """
        self._need_data("plot_qq")
        return plots.plot_qq(self.fit_record, **options)

    def plot_diagnostics(self, **options: Any) -> Any:
        """Four views of a fit; see `lme.report.plots.plot_diagnostics`."""
        self._need_data("plot_diagnostics")
        return plots.plot_diagnostics(self.fit_record, **options)

    def plot_profile(
        self,
        kind: str = "zeta",
        *,
        profile: Profile | None = None,
        parm: Any = None,
        **options: Any,
    ) -> Any:
        """Profiles; see `lme.report.plots.plot_profile`.

        `kind` is "zeta", "density" or "pairs". `profile` is what ``res.profile()``
        returned; without it the profiles are computed now. Options: `levels`,
        `absolute`.
        """
        found = self.profile(parm) if profile is None else profile
        return plots.plot_profile(found, kind=kind, parm=parm, **options)

    def plot_bootstrap(
        self,
        kind: str = "density",
        *,
        boot: Bootstrap | None = None,
        n: int = 1000,
        seed: Any = None,
        **options: Any,
    ) -> Any:
        """Replicates of a bootstrap; see `lme.report.plots.plot_bootstrap`.

        `kind` is "density", "hist" or "ridge". `boot` is what ``res.bootstrap()``
        returned; without it `n` replicates are drawn now, by `seed`. Options: `parm`,
        `bins`, `variance`, `overlay`, `standardize`, `level`, `interval`.
        """
        if boot is None:
            boot = self.bootstrap(n, seed=seed, progress=False)
        return plots.plot_bootstrap(boot, kind=kind, **options)

    def plot_matrix(self, name: str = "L", **options: Any) -> Any:
        """A matrix as an image; see `lme.report.plots.plot_matrix`.

        `name` is "Z", "Lambda", "L" or another key of its `MATRICES`; option: `values`.
        """
        self._need_data("plot_matrix")
        return plots.plot_matrix(self.fit_record, name, **options)

    def plot_influence(
        self, kind: str = "index", *, groups: Any = None, **options: Any
    ) -> Any:
        """Influence of rows or groups; see `lme.report.plots.plot_influence`.

        `kind` is "index", "bubble" or "dfbetas"; `groups` as for ``get_influence``,
        which computes it. Options: `measure`, `parm`, `labels`.
        """
        found = self.get_influence(groups)
        return plots.plot_influence(found, kind=kind, **options)
