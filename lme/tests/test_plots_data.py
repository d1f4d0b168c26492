"""Figures of data and of cell means, without a model."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid

pytest.importorskip("matplotlib")

from lme.errors import DataError, DataTypeError, FormulaError, OptionError
from lme.report.plots import plot_data, plot_interaction
from lme.report.plots.curves import density, normal_quantiles, smooth
from lme.tests.plotting import LOAD, drawn, line, points, segments, ticks


def test_dots_are_sorted_by_mean_with_a_line_through_the_means():
    """Embrace Uncertainty, figure 1.1."""
    data = LOAD("Dyestuff")
    figure = plot_data("Yield ~ 1 | Batch", data)
    axes = figure.axes[0]
    means = data.groupby("Batch", observed=True)["Yield"].mean().sort_values()
    assert ticks(axes.yaxis) == list(means.index)
    assert np.allclose(line(axes, "means"), np.column_stack([means, range(6)]))
    found = points(axes)
    assert np.array_equal(np.sort(found[:, 0]), np.sort(data["Yield"]))
    order = {name: i for i, name in enumerate(means.index)}
    place = data["Batch"].map(order).to_numpy(dtype=float)
    assert np.abs(found[:, 1] - place).max() < 0.2
    assert np.ptp(found[:, 1] - place) > 0.1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Yield", "Batch")


def test_dots_without_jitter_line_or_order():
    figure = plot_data(
        "Yield ~ Batch", LOAD("Dyestuff"), jitter=False, mean_line=False, order="level"
    )
    axes = figure.axes[0]
    assert ticks(axes.yaxis) == list("ABCDEF")
    assert set(points(axes)[:, 1]) == set(range(6))
    assert drawn(axes, "means") == []


def test_colours_have_their_own_means():
    """Penicillin: diameter by plate, a line a sample."""
    data = LOAD("Penicillin")
    axes = plot_data("diameter ~ 1 | plate", data, color="sample").axes[0]
    assert len(drawn(axes, "means")) == 6
    assert [t.get_text() for t in axes.get_legend().get_texts()] == list("ABCDEF")
    values = data.set_index(["plate", "sample"])["diameter"]
    order = ticks(axes.yaxis)
    expected = [values[name, "A"] for name in order]
    assert np.allclose(drawn(axes, "means")[0].get_xdata(), expected)


def test_panels():
    """Pastes: casks in the panel of their batch, sorted there."""
    data = LOAD("Pastes")
    figure = plot_data("strength ~ 1 | cask", data, panels="batch")
    assert [axes.get_title() for axes in figure.axes] == [
        f"batch: {name}" for name in "ABCDEFGHIJ"
    ]
    rows = data[data["batch"] == "D"]
    means = rows.groupby("cask", observed=True)["strength"].mean().sort_values()
    assert ticks(figure.axes[3].yaxis) == list(means.index)


def test_trellis_is_ordered_by_intercept():
    data = LOAD("sleepstudy")
    figure = plot_data("Reaction ~ Days | Subject", data)
    fits = {
        name: np.polyfit(part["Days"], part["Reaction"], 1)
        for name, part in data.groupby("Subject", observed=True)
    }
    expected = sorted(fits, key=lambda name: fits[name][1])
    assert [axes.get_title() for axes in figure.axes] == expected
    for axes, name in zip(figure.axes, expected, strict=True):
        x, y = line(axes, "within").T
        assert np.allclose(y, np.polyval(fits[name], x))
        assert len(points(axes)) == 10
    limits = {axes.get_ylim() for axes in figure.axes}
    assert len(limits) == 1


def test_trellis_of_many_groups_says_so():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(3000), 3)
    data = {"y": rng.normal(size=9000), "x": np.tile([0.0, 1, 2], 3000), "g": g}
    figure = plot_data("y ~ x | g", data, max_panels=12, order="mean")
    assert len(figure.axes) == 12
    assert "12 of 3,000 g" in figure._supxlabel.get_text()


def test_spaghetti():
    axes = plot_data(
        "distance ~ age | Subject", LOAD("Orthodont"), kind="lines", color="Sex"
    ).axes[0]
    assert [len(each.get_segments()) for each in drawn(axes, "joined")] == [16, 11]
    assert axes.get_legend().get_title().get_text() == "Sex"


def test_points_of_two_levels_have_a_smoother():
    """Contraception: the share of users over age, by children, in panels."""
    data = LOAD("Contraception")
    figure = plot_data("use ~ age", data, color="livch", panels="urban")
    for axes in figure.axes:
        assert len(drawn(axes, "smoother")) == 4
        for each in drawn(axes, "smoother"):
            assert each.get_ydata().min() >= 0.0 and each.get_ydata().max() <= 1.0
    assert figure.axes[0].get_legend() is None
    assert len(figure.axes[1].get_legend().get_texts()) == 4


def test_quantiles_of_means():
    """ScotsSec: means of schools, sized by their pupils."""
    data = LOAD("ScotsSec")
    axes = plot_data("attain ~ 1 | primary", data, kind="qq").axes[0]
    found = data.groupby("primary", observed=True)["attain"].agg(["mean", "size"])
    found = found.sort_values("mean", kind="stable")
    shown = points(axes)
    assert np.allclose(shown[:, 0], found["mean"])
    assert np.allclose(shown[:, 1], normal_quantiles(len(found)))
    areas = drawn(axes, "points")[0].get_sizes()
    assert np.corrcoef(np.sort(areas), np.sort(found["size"]))[0, 1] > 0.9999


def test_quantiles_of_a_sample_by_colour():
    axes = plot_data("verbal ~ 1", LOAD("ScotsSec"), color="sex").axes[0]
    assert sum(len(each.get_offsets()) for each in drawn(axes, "points")) == 3435


def test_missing_rows_are_left_out_and_data_stay():
    data = LOAD("Dyestuff")
    data.loc[3, "Yield"] = np.nan
    before = data.copy()
    assert len(points(plot_data("Yield ~ 1 | Batch", data).axes[0])) == 29
    pd.testing.assert_frame_equal(data, before)


def test_expressions_and_other_frames():
    pl = pytest.importorskip("polars")
    data = pl.from_pandas(LOAD("sleepstudy"))
    axes = plot_data("log(Reaction) ~ 1 | Subject", data).axes[0]
    assert axes.get_xlabel() == "log(Reaction)"
    axes = plot_data("yield ~ 1 | block:variety", LOAD("oats")).axes[0]
    assert len(ticks(axes.yaxis)) == 18


@pytest.mark.parametrize(
    ("formula", "options", "error", "words"),
    [
        ("Reaction ~ Dayz | Subject", {}, FormulaError, "Did you mean 'Days'"),
        ("Reaction", {}, FormulaError, "no response"),
        ("~ Days", {}, FormulaError, "no response"),
        ("Reaction ~ Days + Subject", {}, FormulaError, "too many variables"),
        ("Subject ~ Days", {}, DataError, "18 levels"),
        ("Reaction ~ Days", {"kind": "dot"}, OptionError, "Did you mean 'dots'"),
        ("Reaction ~ Days", {"kind": "lines"}, OptionError, "y ~ x | g"),
        ("Reaction ~ Days | Subject", {"color": "Days"}, OptionError, "kind='lines'"),
        ("Reaction ~ Days", {"color": "Sbject"}, FormulaError, "  Sbject\n  \\^{6}$"),
        ("Reaction ~ 1 | Subject", {"order": "size"}, OptionError, "'mean'"),
        ("Reaction ~ 1 | Subject", {"panels": 3}, OptionError, "a name"),
        ("Reaction ~ Days", {"panels": "Reaction"}, OptionError, "180 levels|levels"),
        ("Reaction ~ Days | Subject", {"max_panels": 0}, OptionError, "at least 1"),
        (3, {}, DataTypeError, "type int"),
    ],
)
def test_wrong_requests(formula, options, error, words):
    with pytest.raises(error, match=words):
        plot_data(formula, LOAD("sleepstudy"), **options)


# --- interactions ------------------------------------------------------------


def test_interaction():
    data = LOAD("oats")
    axes = plot_interaction("yield ~ nitrogen * variety", data, interval="se").axes[0]
    cells = data.groupby(["variety", "nitrogen"], observed=True)["yield"]
    means = cells.mean().unstack()
    for each, (name, row) in zip(drawn(axes, "means"), means.iterrows(), strict=True):
        assert each.get_label() == name
        assert np.allclose(each.get_ydata(), row)
    ends = segments(axes)[:, :, 1]
    half = cells.sem().to_numpy()
    assert np.allclose(np.diff(ends)[:, 0] / 2, half)
    assert ticks(axes.xaxis) == list(means.columns)


def test_interaction_of_numbers_and_panels():
    """Numbers stand at their place; more lines than colours are still told apart."""
    figure = plot_interaction("angle ~ temp * replicate", LOAD("cake"), panels="recipe")
    assert [axes.get_title() for axes in figure.axes] == [
        "recipe: A",
        "recipe: B",
        "recipe: C",
    ]
    lines = drawn(figure.axes[0], "means")
    assert len({tuple(each.get_color()) for each in lines}) == 15
    assert lines[0].get_xdata().tolist() == [175, 185, 195, 205, 215, 225]


def test_interaction_intervals():
    data = LOAD("oats")
    narrow = plot_interaction("yield ~ nitrogen * variety", data, interval="se")
    wide = plot_interaction("yield ~ nitrogen * variety", data, interval="ci")
    ratio = np.diff(segments(wide.axes[0])[:, :, 1]) / np.diff(
        segments(narrow.axes[0])[:, :, 1]
    )
    assert np.allclose(ratio, 1.959964)


@pytest.mark.parametrize(
    ("formula", "options", "error"),
    [
        ("yield ~ nitrogen", {}, FormulaError),
        ("yield ~ nitrogen * variety * block", {}, FormulaError),
        ("yield ~ nitrogen * variety | block", {}, FormulaError),
        ("yield ~ nitrogen * variety", {"interval": "sd"}, OptionError),
        ("yield ~ nitrogen * variety", {"level": 95}, OptionError),
        ("yield ~ nitrogn * variety", {}, FormulaError),
    ],
)
def test_wrong_interactions(formula, options, error):
    with pytest.raises(error):
        plot_interaction(formula, LOAD("oats"), **options)


# --- curves ------------------------------------------------------------


def test_smoother_reproduces_a_line():
    x = np.linspace(0.0, 5.0, 80)
    at, values = smooth(x, 2.0 + 3.0 * x)
    assert np.allclose(values, 2.0 + 3.0 * at)
    assert smooth(np.array([1.0, 1, 2, 2]), np.arange(4.0))[0].size == 0


def test_density_is_one_in_all_also_at_a_bound():
    values = np.abs(np.random.default_rng(3).normal(size=2000))
    for low in (-np.inf, 0.0):
        x, y = density(values, low=low)
        assert trapezoid(y, x) == pytest.approx(1.0, abs=2e-3)
    assert x.min() == 0.0
    assert density(np.ones(50))[0].size == 0


def test_normal_quantiles_are_those_of_ppoints():
    # R: qnorm(ppoints(5)), qnorm(ppoints(12))[1:2]
    five = [-1.1797611, -0.4972006, 0.0, 0.4972006, 1.1797611]
    assert np.allclose(normal_quantiles(5), five, atol=1e-7)
    assert np.allclose(normal_quantiles(12)[:2], [-1.7316644, -1.1503494], atol=1e-7)
