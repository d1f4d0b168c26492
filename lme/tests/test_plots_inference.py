"""Figures of profiles, bootstraps, marginal means and influence."""

from functools import cache

import numpy as np
import pytest
from scipy.integrate import trapezoid

pytest.importorskip("matplotlib")

import lme
from lme.errors import FitError, GroupError, OptionError
from lme.tests.plotting import (
    LOAD,
    drawn,
    dyestuff,
    herds,
    line,
    one,
    points,
    segments,
    sleep,
    ticks,
)


@cache
def profile():
    return sleep().profile()


@cache
def replicates():
    return dyestuff().bootstrap(2000, seed=1, progress=False)


@cache
def oats():
    data = LOAD("oats")
    return lme.lmer("yield ~ nitrogen * variety + (1 | block/mainplot)", data).fit()


# --- profiles ---------------------------------------------------------------------


def test_zeta_passes_through_the_estimate():
    found = profile()
    figure = found.plot()
    assert [axes.get_xlabel() for axes in figure.axes] == list(found)
    for axes, curve in zip(figure.axes, found.values(), strict=True):
        x, zeta = line(axes, "profile").T
        assert (np.diff(x) > -1e-12).all() and (np.diff(zeta) > -1e-6).all()
        assert np.interp(curve.estimate, x, zeta) == pytest.approx(0.0, abs=1e-12)
        assert np.allclose(line(axes, "estimate"), [[curve.estimate, 0.0]])
        inner = slice(1, -1)
        assert np.allclose(zeta[inner], curve.zeta_at(x[inner]), atol=1e-8)


def test_intervals_of_zeta():
    """Each stands at a limit, as high as the curve."""
    axes = profile().plot(parm="Days", levels=[0.95]).axes[0]
    low, high = segments(axes, "interval")
    limits = profile().confint().loc["Days"]
    assert np.allclose([low[0, 0], high[0, 0]], limits)
    assert np.allclose([low[:, 1].min(), high[:, 1].max()], [-1.959964, 1.959964])


def test_absolute_zeta():
    axes = sleep().plot_profile(profile=profile(), parm="sigma", absolute=True).axes[0]
    found = line(axes, "profile")[:, 1]
    assert found.min() == 0.0
    assert axes.get_ylabel() == "|zeta|"


def test_a_bound_is_no_crossing():
    figure = dyestuff("Dyestuff2").plot_profile(parm=".sig01", levels=[0.95])
    (only,) = segments(figure.axes[0], "interval")
    assert only[:, 1].max() == pytest.approx(1.959964, abs=1e-6)


def test_density_of_profiles():
    for axes in profile().plot(kind="density").axes:
        x, y = line(axes, "density").T
        # What is beyond |zeta| = 3.03 is missing.
        assert trapezoid(y, x) == pytest.approx(0.9976, abs=2e-3)


def test_pairs():
    names = ["sd_(Intercept)|Subject", "sigma", "Days"]
    figure = profile().plot(kind="pairs", parm=names, levels=[0.8, 0.95])
    assert len(figure.axes) == 9
    below, above = figure.axes[3], figure.axes[1]
    regions = profile().contours(*names[:2], [0.8, 0.95])
    for i, level in enumerate((0.8, 0.95)):
        rows = regions[regions["level"] == level]
        assert np.allclose(drawn(below, "region")[i].get_xdata(), rows[names[0]])
        assert np.allclose(drawn(below, "region")[i].get_ydata(), rows[names[1]])
    # On the scale of zeta, with the axes of the panel exchanged.
    rows = profile().contours(names[1], names[0], [0.8])
    assert np.allclose(drawn(above, "region")[0].get_xdata(), rows["zeta_first"])
    assert len(drawn(below, "trace")) == len(drawn(above, "trace")) == 2
    assert figure.axes[4].texts[0].get_text() == "sigma"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "zetas"}, "Did you mean 'zeta'"),
        ({"parm": "Day"}, "no parameter 'Day'"),
        ({"kind": "pairs", "parm": "Days"}, "2 to 8"),
        ({"levels": [95]}, "between 0 and 1"),
    ],
)
def test_wrong_options_of_profiles(options, words):
    with pytest.raises(OptionError, match=words):
        profile().plot(**options)


# --- bootstrap --------------------------------------------------------------------


def test_density_of_replicates_ends_at_zero():
    """About a tenth of the standard deviations are zero (Embrace Uncertainty)."""
    boot = replicates()
    figure = boot.plot()
    axes = figure.axes[0]
    share = np.mean(boot.values[:, 0] == 0.0)
    assert 0.05 < share < 0.15
    x, y = line(axes, "density").T
    assert x.min() >= 0.0
    assert trapezoid(y, x) == pytest.approx(1.0 - share, abs=5e-3)
    assert len(drawn(axes, "at bound")) == 1
    assert axes.texts[0].get_text() == f"{100 * share:.3g} % at 0"
    assert line(axes, "estimate")[0, 0] == pytest.approx(boot.estimates[0])
    for axes, (_, limits) in zip(figure.axes, boot.confint().iterrows(), strict=True):
        assert np.allclose(line(axes, "interval")[:, 0], limits)


def test_histograms():
    boot = replicates()
    axes = boot.plot(kind="hist", parm="sigma", bins=80).axes[0]
    assert len(axes.patches) == 80
    assert sum(patch.get_height() for patch in axes.patches) == 2000
    axes = boot.plot(kind="hist", parm="sigma", variance=True, bins=200).axes[0]
    assert axes.get_xlabel() == "sigma squared"
    right = axes.patches[-1].get_x() + axes.patches[-1].get_width()
    assert right == pytest.approx(boot.values[:, 1].max() ** 2)
    shortest = boot.plot(parm="sigma", interval="shortest").axes[0]
    limits = boot.confint("shortest", parm="sigma").iloc[0]
    assert np.allclose(line(shortest, "interval")[:, 0], limits)


def test_densities_in_one_panel():
    axes = replicates().plot(parm="theta_", overlay=True).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["sd_(Intercept)|Batch", "sigma"]


def test_ridges():
    boot = replicates()
    axes = boot.plot(kind="ridge").axes[0]
    assert ticks(axes.yaxis) == boot.names[::-1]
    spans = [each.get_xdata() for each in drawn(axes, "interval")]
    for j, (_, limits) in enumerate(boot.confint().iterrows()):
        unit = np.nanstd(boot.values[:, j], ddof=1)
        assert np.allclose(spans[j], (limits - boot.estimates[j]) / unit)
    plain = boot.plot(kind="ridge", parm="sigma", standardize=False).axes[0]
    assert np.allclose(one(plain, "interval").get_xdata(), boot.confint().loc["sigma"])


def test_bootstrap_from_the_result():
    figure = dyestuff().plot_bootstrap(n=50, seed=1, parm="beta_")
    assert figure.axes[0].get_xlabel() == "(Intercept)"
    given = dyestuff().plot_bootstrap("hist", boot=replicates())
    assert len(given.axes) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "ridges"}, "Did you mean 'ridge'"),
        ({"parm": "x"}, "no parameter 'x'"),
        ({"bins": 0}, "at least 1"),
        ({"interval": "bca"}, "'percentile'"),
        ({"kind": "hist", "overlay": True}, "kind='density'"),
        ({"level": 2}, "level"),
    ],
)
def test_wrong_options_of_bootstraps(options, words):
    with pytest.raises(OptionError, match=words):
        replicates().plot(**options)


# --- marginal means ---------------------------------------------------------------


def test_means_with_intervals():
    means = oats().emmeans("nitrogen")
    frame = means.to_frame()
    axes = means.plot().axes[0]
    assert ticks(axes.yaxis) == list(frame["nitrogen"])[::-1]
    # From above in the order of the frame.
    order = np.argsort(-points(axes, "estimates")[:, 1])
    assert np.allclose(points(axes, "estimates")[order, 0], frame["estimate"])
    assert np.allclose(segments(axes)[:, :, 0], frame[["lower", "upper"]])
    assert drawn(axes, "reference") == []


def test_contrasts_have_a_reference():
    pairs = oats().emmeans("nitrogen").pairs()
    axes = pairs.plot().axes[0]
    assert line(axes, "reference")[0, 0] == 0.0
    assert ticks(axes.yaxis)[::-1] == list(pairs.to_frame()["contrast"])
    ratios = herds().emmeans("period", type="response").pairs()
    axes = ratios.plot().axes[0]
    assert line(axes, "reference")[0, 0] == 1.0
    assert axes.get_xscale() == "log"
    assert "period1 / period2" in ticks(axes.yaxis)
    assert axes.get_xlabel().startswith("odds ratio, 95 %")


def test_groups_have_panels():
    figure = oats().emmeans("nitrogen", by="variety").plot()
    names = ["Golden.rain", "Marvellous", "Victory"]
    assert [a.get_title() for a in figure.axes] == [f"variety = {n}" for n in names]


def test_means_as_an_interaction():
    means = oats().emmeans(["nitrogen", "variety"])
    axes = means.plot(kind="interaction").axes[0]
    cells = means.to_frame().pivot(
        index="variety", columns="nitrogen", values="estimate"
    )
    for each in drawn(axes, "estimates"):
        assert np.allclose(each.get_ydata(), cells.loc[each.get_label()])
    other = means.plot(kind="interaction", x="variety", intervals=False).axes[0]
    assert len(drawn(other, "estimates")) == 4
    assert drawn(other, "intervals") == []
    assert other.get_ylabel() == "emmean"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "line"}, "'interaction'"),
        ({"kind": "interaction", "x": "nitrogn"}, "Did you mean 'nitrogen'"),
        ({"x": "nitrogen"}, "kind='interaction'"),
    ],
)
def test_wrong_options_of_means(options, words):
    with pytest.raises(OptionError, match=words):
        oats().emmeans("nitrogen").plot(**options)
    with pytest.raises(OptionError, match="these are contrasts"):
        oats().emmeans("nitrogen").pairs().plot(kind="interaction")


# --- influence --------------------------------------------------------------------


def test_influence_of_rows():
    rows = sleep().get_influence()
    axes = rows.plot().axes[0]
    ends = segments(axes, "stems")
    assert np.allclose(ends[:, 1, 1], rows.cooks_distance)
    largest = rows.cooks_distance.nlargest(5).index
    named = {each.get_text() for each in drawn(axes, "label")}
    assert named == {str(label) for label in largest}
    assert axes.get_ylabel() == "Cook's distance"


def test_influence_of_groups_is_sorted():
    groups = sleep().get_influence(groups="Subject")
    axes = groups.plot(measure="mdffits").axes[0]
    expected = groups.mdffits.sort_values()
    assert ticks(axes.yaxis) == list(expected.index)
    assert np.allclose(points(axes)[:, 0], expected)


def test_bubbles():
    rows = sleep().get_influence()
    axes = sleep().plot_influence("bubble", labels=2).axes[0]
    found = one(axes, "bubbles")
    expected = [rows.hat_matrix_diag, rows.resid_studentized_external]
    assert np.allclose(found.get_offsets(), np.column_stack(expected))
    area, cook = found.get_sizes() - 6.0, rows.cooks_distance.to_numpy()
    assert np.allclose(area / area.max(), cook / cook.max())


def test_changes_of_coefficients():
    groups = sleep().get_influence(groups="Subject")
    figure = sleep().plot_influence("dfbetas", groups="Subject")
    order = groups.dfbetas["(Intercept)"].abs().sort_values(kind="stable").index
    for axes, name in zip(figure.axes, ("(Intercept)", "Days"), strict=True):
        assert np.allclose(points(axes)[:, 0], groups.dfbetas.loc[order, name])
        bounds = [each.get_xdata()[0] for each in drawn(axes, "bound")]
        assert np.allclose(bounds, [-2 / np.sqrt(18), 2 / np.sqrt(18)])
    only = groups.plot(kind="dfbetas", parm="Days")
    assert only.axes[0].get_xlabel() == "dfbetas of Days"


def test_units_that_are_not_known_are_counted():
    """Without the only group with another x its coefficient is not determined."""
    data = {"y": np.arange(12.0) % 5, "x": [0.0] * 9 + [1.0] * 3, "g": list("abcd") * 3}
    result = lme.lmer("y ~ x + (1 | g)", data).fit()
    parts = np.repeat(["first", "second", "third"], [4, 5, 3])
    axes = result.get_influence(groups=parts).plot().axes[0]
    assert axes.get_title(loc="left") == "1 of 3 not known; see influence.notes"
    both = np.repeat(["zero", "one"], [9, 3])
    with pytest.raises(FitError, match="not known for any groups"):
        result.get_influence(groups=both).plot()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "cook"}, OptionError, "'index'"),
        ({"measure": "cook"}, OptionError, "'cooks_distance'"),
        ({"kind": "dfbetas", "parm": "Day"}, OptionError, "Did you mean 'Days'"),
        ({"kind": "bubble", "groups": "Subject"}, OptionError, "is for rows"),
        ({"groups": "Subj"}, GroupError, "Did you mean 'Subject'"),
        ({"labels": "all"}, OptionError, "whole number"),
    ],
)
def test_wrong_options_of_influence(options, error, words):
    with pytest.raises(error, match=words):
        sleep().plot_influence(**options)
