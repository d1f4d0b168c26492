"""Simulation from a result, and the bootstrap."""

from __future__ import annotations

from typing import Any

from lme.inference.bootstrap.record import Bootstrap
from lme.inference.bootstrap.resampling import bootstrap
from lme.results.contract import Contract


class Resampling(Contract):
    """New responses from the fitted model."""

    def bootstrap(
        self,
        n: int = 1000,
        *,
        seed: Any = None,
        kind: str = "parametric",
        re_form: str = "none",
        groups: str | None = None,
        workers: int | None = None,
        progress: bool = True,
        resume: Bootstrap | None = None,
    ) -> Bootstrap:
        """Refit the model to `n` replicates; see `bootstrap.resampling`.

        Not the bootstrap of statsmodels' base class, which would draw rows and break
        up the groups.
        """
        self._need_data("bootstrap")
        return bootstrap(
            self.fit_record,
            n,
            seed=seed,
            kind=kind,
            re_form=re_form,
            groups=groups,
            workers=workers,
            progress=progress,
            resume=resume,
        )
