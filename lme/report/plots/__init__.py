"""Figures of data, models and what follows from them.

Every function returns a Matplotlib figure and takes `ax` or `fig` to draw on. Nothing
is shown, and no global setting of Matplotlib is changed. Matplotlib is loaded when the
first figure is drawn.
"""

from lme.report.plots.bootstrap import plot_bootstrap
from lme.report.plots.fitted import plot_fit
from lme.report.plots.grouped import plot_data
from lme.report.plots.influence import plot_influence
from lme.report.plots.interaction import plot_interaction
from lme.report.plots.marginal import plot_emmeans
from lme.report.plots.matrices import plot_matrix
from lme.report.plots.profiles import plot_profile
from lme.report.plots.random_effects import plot_ranef
from lme.report.plots.residuals import (
    plot_diagnostics,
    plot_qq,
    plot_resid,
    plot_scale_location,
)
from lme.report.plots.shrinkage import plot_shrinkage
from lme.report.plots.within import plot_within_groups

__all__ = [
    "plot_bootstrap",
    "plot_data",
    "plot_diagnostics",
    "plot_emmeans",
    "plot_fit",
    "plot_influence",
    "plot_interaction",
    "plot_matrix",
    "plot_profile",
    "plot_qq",
    "plot_ranef",
    "plot_resid",
    "plot_scale_location",
    "plot_shrinkage",
    "plot_within_groups",
]
