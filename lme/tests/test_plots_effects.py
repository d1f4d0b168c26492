"""Figures of random effects, of shrinkage, and of regressions within groups."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import lme
from lme.errors import GroupError, OptionError
from lme.inference.measures.within_groups import lmList
from lme.report.plots.curves import normal_quantiles
from lme.tests.plotting import (
    LOAD,
    dyestuff,
    line,
    one,
    penicillin,
    points,
    segments,
    sleep,
    ticks,
)

Z = 1.959963984540054


def long(result, group, term):
    """Modes and their deviations of one column, from below."""
    frame = result.ranef().to_frame()
    return frame[(frame["grpvar"] == group) & (frame["term"] == term)]


# --- random effects ---------------------------------------------------------------


def test_caterpillar():
    result = sleep()
    first, second = result.plot_ranef().axes
    expected = long(result, "Subject", "(Intercept)").sort_values("condval")
    assert ticks(first.yaxis) == list(expected["grp"])
    assert np.allclose(points(first, "modes")[:, 0], expected["condval"])
    ends = segments(first)[:, :, 0]
    assert np.allclose(np.diff(ends)[:, 0] / 2, Z * expected["condsd"])
    assert np.allclose(ends.mean(axis=1), expected["condval"])
    # The other column is in the same order of levels.
    other = long(result, "Subject", "Days").set_index("grp").loc[expected["grp"]]
    assert np.allclose(points(second, "modes")[:, 0], other["condval"])


def test_orders_of_a_caterpillar():
    result = sleep()
    days = long(result, "Subject", "Days").sort_values("condval")
    figure = result.plot_ranef(order="Days")
    assert ticks(figure.axes[0].yaxis) == list(days["grp"])
    figure = result.plot_ranef(order="own")
    assert ticks(figure.axes[1].yaxis) == list(days["grp"])
    assert (np.diff(points(figure.axes[0], "modes")[:, 0]) >= 0).all()
    plain = result.plot_ranef(order=None, term="Days").axes[0]
    assert ticks(plain.yaxis)[::-1] == list(result.ranef()["Subject"].index)


def test_caterpillar_at_normal_quantiles():
    result = penicillin()
    figure = result.plot_ranef("qq", level=0.9)
    for axes, group in zip(figure.axes, ("plate", "sample"), strict=True):
        expected = long(result, group, "(Intercept)").sort_values("condval")
        found = points(axes, "modes")
        assert np.allclose(found[:, 0], expected["condval"])
        assert np.allclose(found[:, 1], normal_quantiles(len(expected)))
        half = np.diff(segments(axes)[:, :, 0])[:, 0] / 2
        assert np.allclose(half, 1.6448536269514722 * expected["condsd"])


def test_scatter_of_modes():
    axes = sleep().plot_ranef("scatter").axes[0]
    frame = sleep().ranef()["Subject"]
    assert np.allclose(points(axes, "modes"), frame.to_numpy())
    r = np.corrcoef(frame.T)[0, 1]
    assert axes.get_title(loc="left") == f"r of the modes = {r:.2f}"


def test_many_levels_stay_readable():
    rng = np.random.default_rng(2)
    data = {"y": rng.normal(size=6000), "g": np.repeat(np.arange(3000), 2)}
    data["y"] += rng.normal(size=3000)[data["g"]]
    result = lme.lmer("y ~ 1 + (1 | g)", data).fit()
    axes = result.plot_ranef().axes[0]
    assert axes.get_ylabel() == "g (3,000 levels)"
    assert len(points(axes, "modes")) == 3000
    assert result.plot_ranef().get_size_inches()[1] < 12
    axes = result.plot_shrinkage().axes[0]
    assert axes.get_ylabel() == "g (3,000 levels)"


def test_plot_of_the_record_itself():
    figure = sleep().ranef().plot(kind="qq", term="Days")
    assert figure.axes[0].get_title() == "Subject: Days"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "dots"}, OptionError, "'caterpillar', 'qq', 'scatter'"),
        ({"group": "subject"}, GroupError, "Did you mean 'Subject'"),
        ({"term": "days"}, OptionError, "Did you mean 'Days'"),
        ({"order": "Dys"}, OptionError, "Did you mean 'Days'"),
        ({"level": 95}, OptionError, "level"),
        ({"term": 3}, OptionError, "a name"),
    ],
)
def test_wrong_options_of_ranef(options, error, words):
    with pytest.raises(error, match=words):
        sleep().plot_ranef(**options)


def test_scatter_needs_two_columns():
    with pytest.raises(OptionError, match="no factor with several columns"):
        penicillin().plot_ranef("scatter")


# --- shrinkage --------------------------------------------------------------------


def test_shrinkage_leads_from_each_group_to_the_model():
    """Textbook figure 21.3: least squares black, mixed model blue, mean red."""
    result = sleep()
    axes = result.plot_shrinkage().axes[0]
    alone = lmList("Reaction ~ Days | Subject", LOAD("sleepstudy")).coef()
    mixed = result.coef()["Subject"]
    assert np.allclose(points(axes, "within"), alone.to_numpy())
    assert np.allclose(points(axes, "mixed"), mixed.to_numpy())
    assert np.allclose(points(axes, "population"), [result.fixef().to_numpy()])
    arrows = one(axes, "arrows")
    assert np.allclose(arrows.get_offsets(), alone.to_numpy())
    step = np.column_stack([arrows.U, arrows.V])
    assert np.allclose(alone.to_numpy() + step, mixed.to_numpy())


def test_shrinkage_of_one_column():
    result = dyestuff()
    axes = result.plot_shrinkage().axes[0]
    means = LOAD("Dyestuff").groupby("Batch", observed=True)["Yield"].mean()
    means = means.sort_values()
    assert ticks(axes.yaxis) == list(means.index)
    assert np.allclose(points(axes, "within")[:, 0], means)
    mixed = result.coef()["Batch"].loc[means.index, "(Intercept)"]
    assert np.allclose(points(axes, "mixed")[:, 0], mixed)
    assert line(axes, "population")[0, 0] == pytest.approx(1527.5)


def test_shrinkage_of_a_singular_fit_is_complete():
    axes = dyestuff("Dyestuff2").plot_shrinkage().axes[0]
    assert np.allclose(points(axes, "mixed")[:, 0], 5.6656)


def test_shrinkage_given_the_other_effects():
    """With effects on one factor in two terms, and a crossed factor."""
    data = LOAD("sleepstudy")
    split = lme.lmer("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", data)
    axes = split.fit().plot_shrinkage().axes[0]
    alone = lmList("Reaction ~ Days | Subject", data).coef()
    assert np.allclose(points(axes, "within"), alone.to_numpy())
    result = penicillin()
    axes = result.plot_shrinkage(group="plate").axes[0]
    frame = LOAD("Penicillin")
    sample = result.ranef()["sample"]["(Intercept)"]
    rest = frame["diameter"] - frame["sample"].map(sample).astype(float)
    means = rest.groupby(frame["plate"], observed=True).mean()
    assert np.allclose(points(axes, "within")[:, 0], means.sort_values())


def test_infinite_groups_are_counted():
    """A herd without cases has no estimate of its own."""
    data = LOAD("cbpp")
    total = data.groupby("herd", observed=True)["incidence"].sum()
    data.loc[data["herd"] == total.index[0], "incidence"] = 0
    formula = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    axes = lme.glmer(formula, data, family="binomial").fit().plot_shrinkage().axes[0]
    none = int((data.groupby("herd", observed=True)["incidence"].sum() == 0).sum())
    title = axes.get_title(loc="left")
    assert title == f"{none} of 15 groups undetermined or infinite"
    # The others have their own proportions.
    sums = data.groupby("herd", observed=True)[["incidence", "size"]].sum()
    share = sums["incidence"] / sums["size"]
    share = share[share > 0]
    logits = np.sort(np.log(share / (1 - share)))
    found = points(axes, "within")[:, 0]
    found = found.compressed() if np.ma.isMaskedArray(found) else found
    assert np.allclose(found[np.isfinite(found)], logits, atol=1e-5)


def test_wrong_options_of_shrinkage():
    with pytest.raises(GroupError, match="Did you mean 'Subject'"):
        sleep().plot_shrinkage(group="subject")
    with pytest.raises(OptionError, match="'Days'"):
        sleep().plot_shrinkage(term="x")


# --- regressions within groups ----------------------------------------------------


def test_intervals_within_groups_have_equal_widths():
    fits = lmList("Reaction ~ Days | Subject", LOAD("sleepstudy"))
    for axes, name in zip(fits.plot().axes, ("(Intercept)", "Days"), strict=True):
        frame = fits.confint().xs(name, level="term")
        ordered = fits.coef().sort_values("(Intercept)").index
        assert np.allclose(
            points(axes, "estimates")[:, 0], frame.loc[ordered, "estimate"]
        )
        widths = np.diff(segments(axes)[:, :, 0])[:, 0]
        assert np.ptp(widths) < 1e-9 * widths.mean()
    widths = np.diff(segments(fits.plot(pooled=False).axes[0])[:, :, 0])[:, 0]
    assert np.ptp(widths) > 0.5 * widths.mean()
    with pytest.raises(OptionError, match="'Days'"):
        fits.plot(term="Day")
    with pytest.raises(OptionError, match="order="):
        fits.plot(order="Day")
