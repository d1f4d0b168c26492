"""Figures and axes: whose they are, what they leave behind, what they need."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from lme.errors import DataTypeError, OptionError  # noqa: E402
from lme.report import plots  # noqa: E402
from lme.report.plots import canvas, trellis  # noqa: E402
from lme.tests.plotting import LOAD, sleep  # noqa: E402


def test_matplotlib_is_loaded_with_the_first_figure():
    """One module imports it at its top, and that one nobody imports at the top."""
    eager = set()
    for path in Path(plots.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                text = ast.unparse(node)
                if "matplotlib" in text or "plots.drawing" in text:
                    eager.add(path.stem)
    assert eager == {"drawing"}


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "lme.report.plots.drawing", raising=False)
    with pytest.raises(OptionError, match=r"not installed.*statsmodels-lme\[plots\]"):
        sleep().plot_ranef()
    assert sleep().summary() is not None


def test_no_state_is_left():
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    figures = plt.get_fignums()
    for draw in (sleep().plot_fit, sleep().plot_ranef, sleep().plot_diagnostics):
        assert isinstance(draw(), Figure)
    assert plt.get_fignums() == figures
    assert dict(matplotlib.rcParams) == before


def test_windows_are_managed_by_pyplot(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    figure = sleep().plot_qq()
    assert plt.fignum_exists(figure.number)
    plt.close(figure)
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("backend", ["agg", "Agg", "pdf", "inline"])
def test_backends_without_windows(backend):
    assert not canvas._has_windows(backend)
    assert not canvas._has_windows(f"module://matplotlib_inline.backend_{backend}")


@pytest.mark.parametrize("backend", ["TkAgg", "qtagg", "macosx", "module://ipympl.x"])
def test_backends_with_windows(backend):
    assert canvas._has_windows(backend)


def test_shows_itself_in_a_notebook():
    assert sleep().plot_qq()._repr_png_().startswith(b"\x89PNG")


def test_draws_on_given_axes():
    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert sleep().plot_ranef(ax=[first, second]) is figure
    assert (first.get_title(), second.get_title()) == ("(Intercept)", "Days")
    other = Figure().subplots()
    assert sleep().plot_resid(ax=other) is other.figure
    assert len(other.figure.axes) == 1


def test_draws_on_given_figures():
    figure = Figure()
    upper, lower = figure.subfigures(2, 1)
    assert sleep().plot_ranef(fig=upper) is figure
    assert sleep().plot_fit(fig=lower) is figure
    assert (len(upper.axes), len(lower.axes)) == (2, 18)


def test_wrong_axes():
    axes = Figure().subplots()
    with pytest.raises(OptionError, match=r"1 axes and the figure has 2 panels.*fig="):
        sleep().plot_ranef(ax=axes)
    with pytest.raises(OptionError, match="Both ax= and fig="):
        sleep().plot_ranef(ax=axes, fig=axes.figure)
    with pytest.raises(DataTypeError, match="ax is of type str"):
        sleep().plot_qq(ax="axes")
    with pytest.raises(DataTypeError, match="fig is of type int"):
        sleep().plot_ranef(fig=3)


def test_colours():
    assert canvas.colors(3) == list(canvas.PALETTE[:3])
    assert len({tuple(np.round(c, 6)) for c in canvas.colors(30)}) == 30


def test_many_levels_are_counted_not_named():
    axes = Figure().subplots()
    canvas.label_levels(axes, [f"level {i}" for i in range(3000)], "g")
    assert axes.get_ylabel() == "g (3,000 levels)"
    assert axes.get_yticks().size == 0
    canvas.label_levels(axes, ["a", "b"], "g")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]


def test_evenly():
    assert canvas.evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    found = canvas.evenly(2972, 36)
    assert (len(found), found[0], found[-1]) == (36, 0, 2971)


def test_unknown_choices():
    with pytest.raises(OptionError, match=r"kind='zeeta'.*Did you mean 'zeta'"):
        canvas.check_choice("kind", "zeeta", ("zeta", "density"))
    with pytest.raises(OptionError, match=r"no 'Day'.*'Days'.*Did you mean"):
        canvas.chosen("term", "Day", ["(Intercept)", "Days"])
    with pytest.raises(OptionError, match="is empty"):
        canvas.chosen("term", [], ["Days"])


# --- trellis ------------------------------------------------------------


def test_banking():
    """A slope of 45 degrees in a square of the ranges needs a square panel."""
    x = np.array([0.0, 1.0])
    panels = [trellis.Panel("a", x, 7.0 * x, {"line": (x, 7.0 * x)})]
    assert trellis.banked(panels, (0.0, 1.0), (0.0, 7.0)) == pytest.approx(1.0)
    assert trellis.banked(panels, (0.0, 1.0), (0.0, 14.0)) == pytest.approx(2.0)
    # Changing the units of either axis changes nothing.
    wide = [trellis.Panel("a", 10 * x, x, {"line": (10 * x, x)})]
    assert trellis.banked(wide, (0.0, 10.0), (0.0, 1.0)) == pytest.approx(1.0)


def test_a_banked_panel_has_lines_at_45_degrees():
    figure = plots.plot_data("Reaction ~ Days | Subject", LOAD("sleepstudy"))
    figure.draw_without_rendering()
    slopes = []
    for axes in figure.axes:
        (found,) = (each for each in axes.lines if each.get_gid() == "within")
        shown = axes.transData.transform(found.get_xydata())
        slopes.append(abs(np.diff(shown[:, 1]) / np.diff(shown[:, 0])))
    # The shape is bounded, at which the lines are a little flatter.
    assert 0.7 < np.median(slopes) < 1.2


@pytest.mark.parametrize("aspect", ["bank", 0.0, True, -2])
def test_impossible_aspects(aspect):
    with pytest.raises(OptionError, match="aspect="):
        sleep().plot_fit(aspect=aspect)


def test_arrangement():
    for count in range(1, 37):
        for shape in (0.4, 1.0, 2.5):
            columns, (width, height) = trellis.arrangement(count, shape)
            assert 1 <= columns <= count
            assert 0.2 < height / width < 1.8
