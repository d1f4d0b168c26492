"""Designs from data of every kind: inputs, missing rows, responses, new data."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from lme.covariance import STRUCTURES
from lme.errors import (
    DataError,
    DataTypeError,
    DataWarning,
    DesignError,
    FormulaError,
    FormulaWarning,
    OptionError,
)
from lme.formula import build_design
from lme.formula.arrays import design_from_arrays, response_of
from lme.formula.checks import severities
from lme.formula.replacement import replace_response
from lme.formula.revision import revise
from lme.formula.selection import select_random
from lme.model import lmer

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

N = 30


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "z": rng.uniform(1, 4, size=N),
            "k": np.arange(N) % 3 * 100_000,
            "b": np.arange(N) % 2 == 0,
            "s": np.array(list("zyx") * 10, dtype=object),
            "f": pd.Categorical(
                np.tile(list("bca"), 10), categories=["c", "a", "b", "unused"]
            ),
            "o": pd.Categorical(
                np.repeat(["lo", "mid", "hi"], 10),
                categories=["lo", "mid", "hi"],
                ordered=True,
            ),
            "g": np.repeat(np.arange(6), 5),
            "wins": rng.integers(0, 5, size=N),
        },
        index=pd.Index([f"row{i}" for i in range(N)], name="id"),
    )


FULL = "y ~ x + b + s + f + factor(k) + (x | f) + (1 | k) + (1 | g) + (1 | b:s)"


def content(design):
    """What must not depend on the container of the data."""
    return (
        design.column_names,
        design.X.tolist(),
        design.y.tolist(),
        [(t.group, t.columns, t.levels) for t in design.terms],
        [(t.codes.tolist(), t.values.tolist()) for t in design.terms],
        design.dropped_rows.tolist(),
    )


# --- containers -----------------------------------------------------------


def enum(frame):
    """Polars with an Enum, which is what keeps the order of categories there."""
    categories = pl.Enum(frame["f"].cat.categories.tolist())
    labels = [label if isinstance(label, str) else None for label in frame["f"]]
    rest = pl.from_pandas(frame.drop(columns=["f", "o"]))
    return rest.with_columns(pl.Series("f", labels, dtype=categories))


CONTAINERS = {
    "nullable": lambda d: d.convert_dtypes(),
    "arrow-backed": lambda d: d.convert_dtypes(dtype_backend="pyarrow"),
    "string dtype": lambda d: d.astype({"s": "string"}),
    "object bool": lambda d: d.astype({"b": object}),
    "polars": enum,
    "pyarrow": lambda d: pa.Table.from_pandas(d, preserve_index=False),
    "dict of series": lambda d: {name: d[name] for name in d},
    "dict of arrays": lambda d: {name: d[name].array for name in d},
    "dict of lists": lambda d: {
        name: d[name].array if name in "fo" else d[name].tolist() for name in d
    },
    "MultiIndex": lambda d: d.set_index(
        pd.MultiIndex.from_arrays([d["g"].to_numpy(), np.arange(len(d))])
    ),
    "records": lambda d: d[["y", "x", "k", "g"]].to_records(index=False),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("incomplete", [False, True])
def test_every_container_gives_the_same(data, container, incomplete):
    formula = FULL
    if container == "records":
        formula = "y ~ x + factor(k) + (x | g) + (1 | k)"
    if incomplete:
        data = data.astype({"b": object})
        data.iloc[3, data.columns.get_loc("x")] = np.nan
        data.iloc[5, data.columns.get_loc("s")] = None
        data.iloc[7, data.columns.get_loc("f")] = np.nan
        if container != "records":
            data.iloc[9, data.columns.get_loc("b")] = None
    expected = content(build_design(formula, data))
    assert content(build_design(formula, CONTAINERS[container](data))) == expected


def test_integers_with_missing_values_keep_their_labels(data):
    data["k"] = data["k"].astype("Int64")
    data.iloc[4, data.columns.get_loc("k")] = pd.NA
    for source in (data, pl.from_pandas(data.drop(columns=["f", "o"]))):
        design = build_design("y ~ factor(k) + (1 | k)", source)
        assert design.terms[0].levels == ("0", "100000", "200000")
        assert design.column_names[1:] == ("factor(k)100000", "factor(k)200000")
        assert design.dropped_rows.tolist() == [4]
    floats = build_design("y ~ (1 | k)", data.astype({"k": float}))
    assert floats.terms[0].levels == ("0", "1e+05", "2e+05")


def test_categories_without_order_are_text(data):
    design = build_design("y ~ f + (1 | s)", pl.from_pandas(data.drop(columns="o")))
    assert design.column_names == ("(Intercept)", "fb", "fc")


def test_data_are_never_modified_or_shared(data):
    before = data.copy(deep=True)
    weights = np.ones(N)
    design = build_design("y ~ x + (0 + x | f)", data, weights=weights, offset=weights)
    pd.testing.assert_frame_equal(data, before)
    owned = [design.y, design.X, design.weights, design.offset]
    owned += [design.terms[0].values, design.terms[0].codes]
    given = [data[name].to_numpy() for name in "yx"] + [weights]
    given.append(data["f"].array.codes)
    assert not any(np.shares_memory(a, b) for a in owned for b in given)


@pytest.mark.parametrize(
    "source", [None, [1, 2], "abc", 5, np.ones((3, 2)), pd.Series([1.0]), len]
)
def test_data_of_the_wrong_type(source):
    with pytest.raises(DataTypeError, match="Expected a pandas"):
        build_design("y ~ x + (1 | g)", source)


def test_unusable_tables(data):
    with pytest.raises(DataTypeError, match="collect"):
        build_design("y ~ (1 | s)", pl.LazyFrame({"y": [1.0], "s": ["a"]}))
    with pytest.raises(DataError, match="different lengths: y 2, g 1"):
        build_design("y ~ (1 | g)", {"y": [1.0, 2.0], "g": [1]})
    doubled = pd.concat([data, data[["x"]]], axis=1)
    with pytest.raises(DataError, match="more than one column named 'x'"):
        build_design("y ~ x + (1 | g)", doubled)
    assert build_design("y ~ z + (1 | g)", doubled).nobs == N
    with pytest.raises(DataTypeError, match="several levels"):
        build_design("y ~ (1 | g)", pd.concat({"a": data}, axis=1))
    with pytest.raises(DataTypeError, match="'w' cannot be used"):
        build_design("y ~ w + (1 | g)", data.assign(w=[{}] * N))
    mapping = {"y": data["y"], "g": data["g"], "w": [{}] * N}
    assert build_design("y ~ (1 | g)", mapping).nobs == N
    with pytest.raises(DataTypeError, match="'w' cannot be used"):
        build_design("y ~ w + (1 | g)", mapping)
    with pytest.raises(DataTypeError, match="'w' cannot be used"):
        build_design("y ~ 1 + (1 | g)", {"w": [{}] * N})
    with pytest.raises(DataTypeError, match="complex"):
        build_design("y ~ w + (1 | g)", data.assign(w=np.ones(N) * 1j))


def test_names_that_are_not_strings(data):
    frame = data.rename(columns={"x": 0, "z": "a b"})
    design = build_design("y ~ `0` + `a b` + (1 | g)", frame)
    assert design.column_names == ("(Intercept)", "`0`", "`a b`")


def test_dates_group_rows(data):
    data["day"] = pd.date_range("2020-01-30", periods=6).repeat(5)
    design = build_design("y ~ x + (1 | day)", data)
    assert design.terms[0].levels[:3] == ("2020-01-30", "2020-01-31", "2020-02-01")
    assert design.new(data.tail(2)).terms[0].codes.tolist() == [5, 5]
    assert build_design("y ~ . - day + (1 | g)", data).nobs == N
    with pytest.raises(DataTypeError, match="'day' holds dates"):
        build_design("y ~ day + (1 | g)", data)


# --- names and functions -----------------------------------------------------------


def test_all_unknown_columns_in_one_error(data):
    with pytest.raises(FormulaError) as caught:
        build_design("y ~ xx + nothing + (1 | gg)", data)
    message = str(caught.value)
    assert "'xx', 'nothing', 'gg'" in message
    assert "For 'gg': Did you mean 'g'?" in message
    assert caught.value.position == 4


@pytest.mark.parametrize(
    "formula, words",
    [
        ("y ~ lgo(x) + (1 | g)", "Did you mean 'log'.*context="),
        ("y ~ np.log(z) + (1 | g)", "Did you mean 'log'"),
        ("y ~ center(x) + (1 | g)", r"Write scale\(x, scale = FALSE\)"),
        ("y ~ factor + (1 | g)", r"factor is a function: factor\(...\)"),
        ("y ~ I(x || z) + (1 | g)", r"Write \| for the logical operator"),
        ("y ~ pi + (1 | g)", "1 value. Expected 30"),
        ("y ~ x", "No random effects terms specified.*OLS"),
        ("~ x + (1 | g)", "no response"),
        ("y ~ I(f * 2) + (1 | g)", "factor with"),
    ],
)
def test_errors_of_names(data, formula, words):
    with pytest.raises(FormulaError, match=words):
        build_design(formula, data)


def test_context(data):
    design = build_design(
        "y ~ I(x^q) + half(z) + extra + (1 | g)",
        data,
        context={"q": 2, "half": lambda v: v / 2, "extra": np.arange(N)},
    )
    np.testing.assert_allclose(design.X[:, 1], data["x"] ** 2)
    np.testing.assert_allclose(design.X[:, 2], data["z"] / 2)
    np.testing.assert_allclose(design.X[:, 3], np.arange(N))
    with pytest.raises(FormulaError, match="raised ZeroDivisionError"):
        build_design("y ~ bad(x) + (1 | g)", data, context={"bad": lambda v: 1 / 0})
    with pytest.raises(DataTypeError, match="context is of type list"):
        build_design("y ~ x + (1 | g)", data, context=["q"])


def test_columns_come_before_the_context_and_constants(data):
    design = build_design(
        "y ~ x + pi + (1 | g)", data.assign(pi=data["z"]), context={"x": 1.0}
    )
    np.testing.assert_array_equal(design.X[:, 1], data["x"])
    np.testing.assert_array_equal(design.X[:, 2], data["z"])


# --- missing values, subset, weights, offset -----------------------------------------


def test_missing_values_of_every_variable_drop_rows(data):
    for row, name in enumerate(["y", "x", "z", "f", "g"]):
        data[name] = data[name].astype(object)
        data.iloc[row, data.columns.get_loc(name)] = None
    weights = np.ones(N)
    weights[10] = np.nan
    # z is deleted and wins is not used.
    design = build_design("y ~ x + z - z + (f | g)", data, weights=weights)
    assert design.dropped_rows.tolist() == [0, 1, 2, 3, 4, 10]
    assert design.nobs == design.kept.sum() == N - 6
    assert design.index.equals(data.index[design.kept])
    assert design.full_index is data.index
    assert design.terms[0].columns == ("(Intercept)", "fb", "fc")


def test_na_actions(data):
    data.iloc[2, 0] = np.nan
    exclude = build_design("y ~ x + (1 | g)", data, na_action="exclude")
    assert exclude.na_action == "exclude"
    assert not exclude.kept[2]
    with pytest.raises(DataError, match=r"1 row\(s\) have missing values: y \(1\)"):
        build_design("y ~ x + (1 | g)", data, na_action="fail")
    with pytest.raises(OptionError, match="Did you mean 'omit'"):
        build_design("y ~ x + (1 | g)", data, na_action="na.omit")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: d.iloc[:0], "no rows: 0 \\(non-NA\\) cases"),
        (lambda d: d.assign(x=np.nan), "0 \\(non-NA\\) cases.*x in 30 row"),
    ],
)
def test_no_complete_rows(data, change, words):
    with pytest.raises(DataError, match=words):
        build_design("y ~ x + (1 | g)", change(data))


def test_infinite_numbers(data):
    data.iloc[4, 1] = np.inf
    with pytest.raises(DataError, match=r"variable x is infinite.*'row4'"):
        build_design("y ~ x + (1 | g)", data)
    with pytest.raises(DataError, match="response x is infinite"):
        build_design("x ~ z + (1 | g)", data)
    with pytest.raises(DataError, match="log\\(wins\\)"):
        build_design("y ~ log(wins) + (1 | g)", data)


def test_new_missing_values_are_reported(data):
    with pytest.warns(DataWarning, match=r"log\(x\) is not a number in") as caught:
        design = build_design("y ~ log(x) + (1 | g)", data)
    assert caught[0].filename == __file__ or "formula" not in caught[0].filename
    assert design.nobs == (data["x"] > 0).sum()
    assert isinstance(design.warnings[0], DataWarning)


def test_subset_follows_evaluation(data):
    chosen = data["x"] > 0
    design = build_design("y ~ scale(x) + (1 | g)", data, subset="x > 0")
    scaled = (data["x"] - data["x"].mean()) / data["x"].std()
    np.testing.assert_allclose(design.X[:, 1], scaled[chosen])
    for subset in (chosen, chosen.to_numpy(), np.flatnonzero(chosen)):
        again = build_design("y ~ scale(x) + (1 | g)", data, subset=subset)
        np.testing.assert_array_equal(again.X, design.X)
    part = build_design("y ~ f + (1 | g)", data, subset=slice(0, 10))
    assert part.nobs == 10
    assert len(part.terms[0].levels) == 2
    assert part.full_index.equals(data.index[:10])


@pytest.mark.parametrize(
    "subset, error",
    [
        ("x > 100", DataError),
        ("x", DataTypeError),
        ([0.5, 1.5], DataTypeError),
        ([99], DataError),
        ([0, N], DataError),
        ([-N - 1, 0], DataError),
        (np.array([], dtype=int), DataError),
        ("nothing > 1", FormulaError),
        (np.array([True, False]), DataTypeError),
    ],
)
def test_unusable_subsets(data, subset, error):
    with pytest.raises(error):
        build_design("y ~ x + (1 | g)", data, subset=subset)


def test_positions_count_from_the_end_too(data):
    design = build_design("y ~ x + (1 | b)", data, subset=[1, N - 2, -1, -N])
    assert design.index.tolist() == ["row1", "row28", "row29", "row0"]


def test_weights_and_offsets(data):
    design = build_design(
        "y ~ x + offset(z) + offset(log(z)) + (1 | g)", data, weights="1/z", offset="x"
    )
    np.testing.assert_allclose(design.weights, 1 / data["z"])
    total = data["z"] + np.log(data["z"]) + data["x"]
    np.testing.assert_allclose(design.offset, total)
    plain = build_design("y ~ x + (1 | g)", data)
    assert plain.weights is None and plain.offset is None
    for given in (data["z"], data["z"].to_numpy(), data["z"].tolist(), "z"):
        weighted = build_design("y ~ x + (1 | g)", data, weights=given)
        np.testing.assert_array_equal(weighted.weights, data["z"])


@pytest.mark.parametrize(
    "weights, error, words",
    [
        (np.zeros(N), DataError, "30 weight"),
        (-np.ones(N), DataError, "finite and positive"),
        (np.full(N, np.inf), DataError, "inf"),
        (np.ones(3), DataError, "shape"),
        (2.0, DataError, "one for each row"),
        ("f", DataTypeError, "factor"),
        ("nothing", FormulaError, "no column 'nothing'"),
        (["a"] * N, DataTypeError, "string"),
        (pd.Series(np.ones(N)), DataError, "index of weights differs"),
    ],
)
def test_unusable_weights(data, weights, error, words):
    with pytest.raises(error, match=words):
        build_design("y ~ x + (1 | g)", data, weights=weights)


# --- responses -----------------------------------------------------------


def test_counts_of_a_single_trial_are_what_happened(data):
    text = "cbind(wins > 2, wins <= 2) ~ x + (1 | g)"
    design = build_design(text, data, family="binomial")
    np.testing.assert_array_equal(design.y, data["wins"] > 2)
    np.testing.assert_array_equal(design.trials, np.ones(N))
    other = replace_response(design, np.column_stack([data["wins"] < 1, np.ones(N)]))
    np.testing.assert_allclose(other.y, np.where(data["wins"] < 1, 0.5, 0))
    other = replace_response(design, np.column_stack([data["b"], ~data["b"]]))
    np.testing.assert_array_equal(other.y, data["b"])


def test_a_row_without_trials_has_no_weight(data):
    data["size"] = np.where(data["wins"] > 3, 0, 4)
    text = "cbind(pmin(wins, size), size - pmin(wins, size)) ~ x + (1 | g)"
    design = build_design(text, data, family="binomial", context={"pmin": np.minimum})
    np.testing.assert_array_equal(design.weights, data["size"])
    np.testing.assert_array_equal(design.y, np.where(data["size"], data["wins"] / 4, 0))
    assert (design.trials == 0).any()


def test_other_counts_keep_the_weights_beside_the_trials(data):
    text = "cbind(wins, 4 - wins) ~ x + (1 | g)"
    prior = np.linspace(1, 2, N)
    design = build_design(text, data, family="binomial", weights=prior)
    other = replace_response(design, np.column_stack([data["wins"], np.full(N, 3)]))
    np.testing.assert_array_equal(other.trials, data["wins"] + 3)
    np.testing.assert_allclose(other.weights, prior * (data["wins"] + 3))
    np.testing.assert_array_equal(other.y, data["wins"] / (data["wins"] + 3))


def test_counts(data):
    text = "cbind(wins, 4 - wins) ~ x + (1 | g)"
    design = build_design(text, data, family="binomial", weights=np.full(N, 2.0))
    np.testing.assert_array_equal(design.y, data["wins"] / 4)
    np.testing.assert_array_equal(design.trials, np.full(N, 4.0))
    np.testing.assert_array_equal(design.weights, np.full(N, 8.0))
    assert design.y_kind == "counts"
    with pytest.raises(DesignError, match="refit"):
        build_design(text, data)
    with pytest.raises(DataError, match="negative counts"):
        build_design(text.replace("4", "2"), data, family="binomial")


class Family:
    """What is known of a family here is its name."""

    name = "Binomial"


@pytest.mark.parametrize("family", ["binomial", "Bernoulli", Family(), Family])
def test_two_levels_with_failure_first(data, family):
    for name, levels in [("two", ("no", "yes")), ("text", ("no", "yes"))]:
        data["two"] = pd.Categorical(np.where(data["x"] > 0, "yes", "no"))
        data["text"] = np.where(data["x"] > 0, "yes", "no").astype(object)
        design = build_design(f"{name} ~ z + (1 | g)", data, family=family)
        np.testing.assert_array_equal(design.y, data["x"] > 0)
        assert design.y_levels == levels
        assert design.y_kind == "factor"
    design = build_design("b ~ z + (1 | g)", data, family=family)
    np.testing.assert_array_equal(design.y, data["b"])
    assert design.y_kind == "logical"


def test_unusable_responses(data):
    with pytest.raises(DesignError, match="3 levels"):
        build_design("f ~ x + (1 | g)", data, family="binomial")
    with pytest.raises(DataTypeError, match=r"text or categories.*glmer"):
        build_design("s ~ x + (1 | g)", data)
    assert build_design("b ~ x + (1 | g)", data).y_kind == "logical"


def test_response_on_the_right(data):
    with pytest.warns(FormulaWarning, match="response y appeared"):
        design = build_design("y ~ y + x + (1 | g)", data)
    assert design.column_names == ("(Intercept)", "x")
    with pytest.warns(FormulaWarning):
        design = build_design("log(z) ~ log(z) + z + (1 | g)", data)
    assert design.column_names == ("(Intercept)", "z")


# --- fixed part -----------------------------------------------------------


def test_dot_stands_for_the_other_columns(data):
    part = data[["y", "x", "f", "g"]]
    design = build_design("log(y + 9) ~ . + (1 | g)", part)
    assert design.column_names == ("(Intercept)", "x", "fa", "fb", "g")
    squared = build_design("y ~ .^2 - g:x + (1 | g)", part)
    assert squared.term_labels == ("x", "f", "g", "x:f", "f:g")


def deviations(levels):
    """Sum-to-zero contrasts as a user would write them."""
    return np.vstack([np.eye(len(levels) - 1), -np.ones(len(levels) - 1)])


@pytest.mark.parametrize(
    "spec", ["contr.sum", "sum", np.array([[1, 0], [0, 1], [-1, -1]]), deviations]
)
def test_contrasts(data, spec):
    design = build_design("y ~ f + (f | g)", data, contrasts={"f": spec})
    codes = pd.Categorical(data["f"]).codes
    table = np.array([[1, 0], [0, 1], [-1, -1]])
    np.testing.assert_array_equal(design.X[:, 1:], table[codes])
    assert design.column_names == ("(Intercept)", "f1", "f2")
    # lme4 leaves the random part alone; a default changes it too.
    assert design.terms[0].columns == ("(Intercept)", "fa", "fb")
    everywhere = build_design("y ~ f + (f | g)", data, contrasts="contr.sum")
    assert everywhere.terms[0].columns == ("(Intercept)", "f1", "f2")
    new = data.assign(f=pd.Categorical(data["f"].astype(str)))
    np.testing.assert_array_equal(design.new(new.head(3)).X, design.X[:3])


@pytest.mark.parametrize(
    "contrasts, error",
    [
        ({"ff": "contr.sum"}, OptionError),
        ({"x": "contr.sum"}, OptionError),
        ({"f": "contr.smu"}, FormulaError),
        ({"f": np.eye(4)}, DesignError),
        ({"f": lambda levels: None}, DesignError),
        (3, OptionError),
    ],
)
def test_unusable_contrasts(data, contrasts, error):
    with pytest.raises(error):
        build_design("y ~ x + f + (1 | g)", data, contrasts=contrasts)


def test_a_contrast_matrix_of_one_column_makes_one(data):
    # R: model.matrix with C(s, contr.sum, 1), and with contrasts.arg.
    trend = np.array([1.0, 0.0, -1.0])
    expected = trend[pd.Categorical(data["s"]).codes]
    for formula, contrasts in [
        ("y ~ C(s, sum, 1) + (1 | g)", None),
        ("y ~ C(s, cbind(c(1, 0, -1)), 1) + (1 | g)", None),
        ("y ~ s + (1 | g)", {"s": trend[:, None]}),
    ]:
        design = build_design(formula, data, contrasts=contrasts)
        assert design.X.shape == (N, 2)
        np.testing.assert_array_equal(design.X[:, 1], expected)
        np.testing.assert_array_equal(design.new(data.head(3)).X, design.X[:3])
    # Where the factor has a column for each level, the coding does not matter.
    names = build_design("y ~ 0 + C(s, sum, 1) + (1 | g)", data).column_names
    assert names == ("C(s, sum, 1)x", "C(s, sum, 1)y", "C(s, sum, 1)z")
    design = build_design("y ~ C(o, poly, 1) + (C(o, poly, 1) | g)", data)
    assert design.column_names == ("(Intercept)", "C(o, poly, 1).L")
    assert design.terms[0].columns == design.column_names


@pytest.mark.parametrize("how_many", [0, 3])
def test_numbers_of_contrast_columns_that_a_factor_cannot_have(data, how_many):
    with pytest.raises(FormulaError, match="3 levels have between 1 and 2"):
        build_design(f"y ~ C(s, sum, {how_many}) + (1 | g)", data)


def test_contrasts_are_lost_with_their_levels(data):
    with pytest.warns(DataWarning, match="lost its contrasts"):
        design = build_design("y ~ C(f, sum) + (1 | g)", data)
    assert design.column_names == ("(Intercept)", "C(f, sum)a", "C(f, sum)b")


def test_contrasts_in_the_spelling_of_patsy(data):
    design = build_design("y ~ C(s, Sum) + (1 | g)", data)
    assert design.column_names == ("(Intercept)", "C(s, Sum)1", "C(s, Sum)2")


def test_one_level(data):
    with pytest.raises(DesignError, match="'one' has only one level, 'a'"):
        build_design("y ~ one + (1 | g)", data.assign(one="a"))
    # A logical variable has two levels always.
    design = build_design("y ~ b + (1 | g)", data.assign(b=True))
    assert design.column_names == ("(Intercept)", "bTRUE")


def test_an_ordered_factor_has_polynomials(data):
    design = build_design("y ~ o + (1 | g)", data)
    assert design.column_names == ("(Intercept)", "o.L", "o.Q")


# --- random part -----------------------------------------------------------


@pytest.mark.parametrize("name", ["g", "s", "b", "f", "k"])
def test_grouping_columns_of_any_type(data, name):
    design = build_design(f"y ~ (1 | {name})", data)
    assert design.Zt.shape == (data[name].nunique(), N)
    text = [str(v).upper() if name == "b" else str(v) for v in data[name]]
    assert [design.terms[0].levels[i] for i in design.terms[0].codes] == text


def test_grouping_by_calls_and_crossing(data):
    design = build_design(
        "y ~ (1 | factor(k)) + (1 | interaction(f, b)) + (1 | s*b)", data
    )
    assert set(design.flist) == {"factor(k)", "interaction(f, b)", "s", "b", "s:b"}
    assert [len(t.levels) for t in design.terms] == [6, 6, 3, 3, 2]


def test_a_grouping_variable_is_a_factor_in_its_own_term(data):
    design = build_design("y ~ k + (k | k) + (k | g)", data)
    assert design.column_names == ("(Intercept)", "k")
    columns = {t.group: t.columns for t in design.terms}
    assert columns["k"] == ("(Intercept)", "k100000", "k200000")
    assert columns["g"] == ("(Intercept)", "k")
    rows = design.new(data.head(3))
    np.testing.assert_array_equal(rows.terms[1].values, design.terms[1].values[:3])


def test_interaction_levels_follow_the_codes(data):
    data["h"] = pd.Categorical(np.tile(list("pqr"), 10), categories=list("rqp"))
    design = build_design("y ~ (1 | f:h)", data)
    assert design.terms[0].levels == ("c:q", "a:r", "b:p")


def test_double_bar_with_a_factor(data):
    with pytest.warns(FormulaWarning, match="zerocorr") as caught:
        design = build_design("y ~ f + (f || g) + (b || s)", data)
    assert len(caught) == 1
    assert [t.columns for t in design.terms if t.group == "g"] == [
        ("(Intercept)",),
        ("fc", "fa", "fb"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagonal = build_design("y ~ f + zerocorr(f | g) + (x || g)", data)
    assert diagonal.terms[0].structure == "diag"
    assert diagonal.terms[0].columns == ("(Intercept)", "fa", "fb")


@pytest.mark.parametrize("formula", ["(x*z | g)", "diag(x*z | g)", "(x | g) + (1 | f)"])
def test_template_agrees_with_the_structures(data, formula):
    design = build_design(f"y ~ x + {formula}", data)
    start, lower, blocks, position = [], [], [], 0
    theta = np.arange(1.0, len(design.theta) + 1)
    for term in design.terms:
        structure, p = STRUCTURES[term.structure], len(term.columns)
        start.append(structure.start(p))
        lower.append(structure.lower(p))
        size = structure.size(p)
        factor = structure.factor(theta[position : position + size], p)
        blocks += [factor.T] * len(term.levels)
        position += size
    np.testing.assert_array_equal(design.theta, np.concatenate(start))
    np.testing.assert_array_equal(design.lower, np.concatenate(lower))
    Lambdat = design.Lambdat.copy()
    Lambdat.data = theta[design.Lind - 1]
    np.testing.assert_array_equal(Lambdat.toarray(), linalg.block_diag(*blocks))


def test_Z_is_the_sum_over_terms(data):
    design = build_design("y ~ (x + z | g) + (0 + x | f)", data)
    expected = []
    for term in design.terms:
        indicators = np.eye(len(term.levels))[term.codes]
        product = indicators[:, :, None] * term.values[:, None, :]
        expected.append(product.reshape(N, -1))
    np.testing.assert_array_equal(design.Zt.toarray().T, np.hstack(expected))


def test_a_term_without_columns(data):
    with pytest.warns(FormulaWarning, match="no columns"):
        design = build_design("y ~ x + (1 | g) + (0 | f)", data)
    assert design.Zt.shape == (6, N)
    assert design.theta.tolist() == [1.0]


# --- new data -----------------------------------------------------------


def test_training_data_give_the_same_matrices(data):
    text = (
        "y ~ poly(x, 2) + scale(log(z)) + I(scale(x)^2) + f*b + factor(k) + cut(x, 3)"
        " + offset(z) + (scale(x) + f | g) + (1 | s:g)"
    )
    design = build_design(text, data)
    again = pickle.loads(pickle.dumps(design))
    for source in (data, data.iloc[::-1].iloc[::-1], CONTAINERS["nullable"](data)):
        rows = again.new(source)
        np.testing.assert_allclose(rows.X, design.X, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(rows.offset, design.offset)
        for new, old in zip(rows.terms, design.terms, strict=True):
            np.testing.assert_allclose(new.values, old.values, rtol=1e-12, atol=1e-13)
            np.testing.assert_array_equal(new.codes, old.codes)
    one = design.new(data.iloc[[4]])
    np.testing.assert_allclose(one.X[0], design.X[4], rtol=1e-12, atol=1e-13)


def test_unseen_levels_and_missing_values(data):
    design = build_design("y ~ f + x + (1 | g) + (1 | g:s)", data)
    new = data.head(4).astype({"s": object, "g": object})
    new.iloc[0, new.columns.get_loc("g")] = 99
    new.iloc[1, new.columns.get_loc("s")] = "unseen"
    new.iloc[2, new.columns.get_loc("x")] = np.nan
    new.iloc[3, new.columns.get_loc("g")] = None
    rows = design.new(new)
    assert [t.codes[0] for t in rows.terms] == [-1, -1]
    assert [t.codes[1] >= 0 for t in rows.terms] == [False, True]
    assert [t.codes[3] for t in rows.terms] == [-1, -1]
    assert np.isnan(rows.X).any(axis=1).tolist() == [False, False, True, False]
    assert rows.index.equals(new.index)
    new["f"] = ["new", "a", "b", "c"]
    with pytest.raises(DataError, match="factor 'f' has new levels 'new'"):
        design.new(new)
    new["f"] = [None, "a", "b", "c"]
    assert np.isnan(design.new(new).X[0, 1:3]).all()


def test_new_data_need_only_what_is_asked_for(data):
    design = build_design("y ~ x + (z | g) + (1 | f)", data)
    assert design.new({"x": [1.0]}, random="none").X.tolist() == [[1.0, 1.0]]
    rows = design.new(
        {"g": [2, 77]}, fixed=False, random=select_random(design, "(1|g)")
    )
    assert rows.X is None
    assert rows.which == (0,)
    assert rows.terms[0].codes.tolist() == [2, -1]
    assert rows.terms[0].values.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    rows = design.new({"x": [1.0], "f": ["a"]})
    assert rows.which == (1,)
    with pytest.raises(FormulaError, match="no columns 'x', 'z', 'f'"):
        design.new({"g": [1]}, random="all")
    with pytest.raises(OptionError, match="random"):
        design.new(data, random="some")
    with pytest.raises(OptionError, match="0 to 1"):
        design.new(data, random=[2])


def test_select_random(data):
    design = build_design("y ~ x + (x + f | g) + (1 | s) + (0 + z | g)", data)
    assert [t.columns for t in design.terms][1] == ("(Intercept)", "x", "fa", "fb")
    assert select_random(design, "~ (x | g)") == {1: (0, 1)}
    assert select_random(design, "~ (0 + f | g) + (1 | s)") == {1: (2, 3), 2: (0,)}
    assert select_random(design, "~ (0 + z | g)") == {0: (0,)}
    assert select_random(design, "~ 0") == {}
    with pytest.raises(FormulaError, match="no random effect of z"):
        select_random(design, "~ (z | s)")
    with pytest.raises(FormulaError, match="more than random terms"):
        select_random(design, "~ x")


def test_numbers_and_labels_of_new_groups(data):
    data["k"] = data["k"].astype(float)
    design = build_design("y ~ (1 | k)", data)
    for values in ([100_000], [1e5], ["1e+05"], ["100000"], pd.Series([1e5])):
        assert design.new({"k": values}).terms[0].codes.tolist() == [1]


def test_offset_argument_in_new_data(data):
    named = build_design("y ~ x + (1 | g)", data, offset="z")
    np.testing.assert_array_equal(named.new(data).offset, data["z"])
    given = build_design("y ~ x + (1 | g)", data, offset=data["z"])
    assert given.new(data).offset_missing
    rows = given.new(data, offset=np.ones(N))
    assert not rows.offset_missing
    np.testing.assert_array_equal(rows.offset, np.ones(N))


def test_wrong_kind_in_new_data(data):
    design = build_design("y ~ x + (1 | g)", data)
    with pytest.raises(DataError, match="'x' was numeric in the fit"):
        design.new({"x": ["a"], "g": [1]})


def test_revised_formula_builds(data):
    old = build_design("y ~ x + (x || g)", data)
    new = build_design(revise(old.expanded, ". ~ . + f - (0 + x | g)"), data)
    assert new.column_names == ("(Intercept)", "x", "fa", "fb")
    assert [t.columns for t in new.terms] == [("(Intercept)",)]


def test_arrays_have_no_recipe_for_new_data(data):
    from_arrays = design_from_arrays(data["y"], data[["x"]], data["g"])
    with pytest.raises(DesignError, match="made from arrays"):
        from_arrays.new(data)


def test_warnings_of_functions_are_kept(data):
    with pytest.warns(DataWarning, match="df = 2") as caught:
        design = build_design("y ~ bs(x, df = 2) + (1 | b)", data)
    assert [str(w) for w in design.warnings] == [str(caught[0].message)]


def test_other_warnings_of_a_users_function_reach_the_user(data):
    def old(x):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return x + 1

    with pytest.warns(DeprecationWarning, match="old"):
        design = build_design("y ~ old(x) + (1 | b)", data, context={"old": old})
    assert not design.warnings


def test_subset_of_a_wrong_kind(data):
    with pytest.raises(DataTypeError, match="subset is of type function"):
        build_design("y ~ x + (1 | b)", data, subset=lambda d: d["x"] > 0)


def test_checks_of_a_wrong_kind():
    with pytest.raises(OptionError, match="of type int"):
        severities(3)


def test_a_response_of_dates_is_called_so(data):
    data["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(range(N), unit="D")
    with pytest.raises(DataTypeError, match="dates or times"):
        build_design("when ~ x + (1 | b)", data)


def test_rows_are_labelled_without_numpy(data):
    data = data.reset_index(drop=True)
    data.loc[0, "x"] = np.nan
    data.loc[2, "x"] = np.inf
    with pytest.raises(DataError, match=r"the row 2\."):
        build_design("y ~ x + (1 | b)", data)


def test_arrays_of_the_user_may_change_later():
    rng = np.random.default_rng(1)
    y, X, w = rng.normal(size=N), rng.normal(size=(N, 2)), np.ones(N)
    design = design_from_arrays(y, X, np.arange(N) % 5, weights=w, offset=w)
    new = rng.normal(size=N)
    again = response_of(design, new)
    for mine, yours in [(design.y, y), (design.X, X), (design.weights, w)]:
        assert not np.shares_memory(mine, yours)
    assert not np.shares_memory(design.offset, w)
    assert not np.shares_memory(again, new)


def test_a_new_response_with_shuffled_labels_is_refused(data):
    design = build_design("y ~ x + (1 | b)", data)
    np.testing.assert_array_equal(response_of(design, data["y"]), data["y"])
    other = pd.Series(data["z"].to_numpy(), index=[f"s{i}" for i in range(N)])
    np.testing.assert_array_equal(response_of(design, other), data["z"])
    with pytest.raises(DataError, match="another order"):
        response_of(design, data["y"][::-1])
    with pytest.raises(DataTypeError, match="complex"):
        response_of(design, data["y"].to_numpy() + 1j)
    with pytest.raises(DataTypeError, match=r"new response is not numeric\. Expected"):
        response_of(design, ["a"] * N)
    with pytest.raises(DataError, match="update"):
        response_of(design, [np.nan] * N)


@pytest.mark.parametrize(
    "formula, message",
    [
        ("y ~ x (1 | g)", "'x' is a column, but stands before a parenthesis"),
        ("y ~ cs(x) + (1 | g)", "surrounds a random term"),
        ("y ~ ou(x | g)", r"structures are us\(\), diag\(\)"),
        ("y ~ zerocorr(x) + (1 | g)", "surrounds a random term"),
        ("y ~ log(z)", "No random effects terms"),
    ],
)
def test_a_random_term_that_is_none_is_explained(data, formula, message):
    with pytest.raises(FormulaError, match=message):
        build_design(formula, data)


HASHES = np.uint64(2**63) + np.arange(N, dtype=np.uint64) % np.uint64(6)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: pd.DataFrame(d),
        lambda d: pd.DataFrame(d).convert_dtypes(),
        lambda d: pl.DataFrame(d),
        lambda d: pa.table(d),
        lambda d: d,
        lambda d: {name: list(map(int, values)) for name, values in d.items()},
    ],
)
def test_whole_numbers_beyond_64_bits_are_refused_and_below_kept_apart(make):
    y = np.arange(N) % 7
    with pytest.raises(DataTypeError, match=r"'g'.*9223372036854775813.*astype"):
        build_design("y ~ 1 + (1 | g)", make({"y": y, "g": HASHES}))
    fits = HASHES - np.uint64(10)
    design = build_design("y ~ 1 + (1 | g)", make({"y": y, "g": fits}))
    assert design.terms[0].levels == tuple(map(str, range(2**63 - 10, 2**63 - 4)))


def test_lists_with_missing_numbers(data):
    columns = {name: data[name].tolist() for name in ("y", "x", "g")}
    columns["x"] = [pd.NA, None, np.nan, *columns["x"][3:]]
    design = build_design("y ~ x + (1 | g)", columns)
    assert design.dropped_rows.tolist() == [0, 1, 2]
    grouped = build_design("y ~ 1 + (1 | x)", columns)
    assert len(grouped.terms[0].levels) == N - 3


def test_an_index_of_several_levels_is_no_column(data):
    levels = pd.MultiIndex.from_arrays([data["g"], data["k"]])
    with pytest.raises(DataTypeError, match=r"'x'.*index of several levels"):
        build_design("y ~ x + (1 | g)", {"y": data["y"], "g": data["g"], "x": levels})


def test_a_name_that_reads_as_a_number_is_not_another_level(data):
    data["id"] = [str(i % 8) for i in range(N)]
    design = build_design("y ~ id + (1 | id)", data)
    for text in ("007", "7 ", "0_7", "+7"):
        with pytest.raises(DataError, match="new levels"):
            design.new(pd.DataFrame({"id": [text]}))
    for same in (7, 7.0, "7"):
        row = design.new(pd.DataFrame({"id": [same]}))
        np.testing.assert_array_equal(row.X[0], design.X[7])
    data["k"] = data["k"].astype(float)
    floats = build_design("y ~ factor(k) + (1 | b)", data)
    row = floats.new(pd.DataFrame({"k": [100000], "b": [True]}))
    np.testing.assert_array_equal(row.X[0], floats.X[1])


def test_new_data_of_another_width(data):
    design = build_design("y ~ x + (1 | b)", data)
    with pytest.raises(DataError, match=r"'x' has 2 column\(s\)"):
        design.new({"x": np.ones((3, 2)), "b": [True] * 3})


def test_names_of_random_columns_are_those_of_exog_where_they_are_in_it(data):
    one, x, z = np.ones(N), data["x"].to_numpy(), data["z"].to_numpy()
    X = np.column_stack([one, x])
    for columns, names in [
        ((one, x), ("const", "x1")),
        ((x, one), ("x1", "const")),
        ((z, x), ("z1", "x1")),
        ((one, z, x), ("const", "z1", "x1")),
        ((2 * one, z), ("z1", "z2")),
    ]:
        Z = np.column_stack(columns)
        design = design_from_arrays(data["y"], X, data["s"], exog_re=Z)
        assert design.terms[0].columns == names
        np.testing.assert_array_equal(design.terms[0].values, Z)
    swapped = design_from_arrays(data["y"], X[:, ::-1], data["s"])
    assert swapped.column_names == ("x1", "const")
    assert swapped.assign == (1, 0) and swapped.term_labels == ("x1",)
    plain = design_from_arrays(data["y"], None, data["s"], exog_re=np.c_[one, z])
    assert plain.terms[0].columns == ("(Intercept)", "z1")


def test_several_responses_are_for_refit_and_several_weights_are_not(data):
    two = np.ones((N, 2))
    with pytest.raises(DataError, match=r"endog has shape \(30, 2\).*call refit"):
        design_from_arrays(two, None, data["s"])
    with pytest.raises(DataError, match=r"weights has shape \(30, 2\)") as caught:
        design_from_arrays(data["y"], None, data["s"], weights=two)
    assert "refit" not in str(caught.value)


def test_small_numbers_are_of_another_scale_too(data):
    small = data.assign(x=data["x"] * 1e-6, z=data["z"] * 1e3)
    with pytest.warns(DataWarning, match="scales: 'z' has .*, 'x' of") as caught:
        lmer("y ~ x + z + (1 | g)", small, checks={"scale": "warn"})
    assert len(caught) == 1
    # A constant has no scale, whatever its value.
    constant = data.assign(two=2.0)
    model = lmer("y ~ 0 + two + x + (1 | g)", constant, checks={"scale": "warn"})
    assert model.warnings == ()


def test_matrices_with_other_labels_are_refused(data):
    X = pd.DataFrame({"one": 1.0, "x": data["x"]})
    design_from_arrays(data["y"], X, data["s"], weights=data["z"])
    for other in ("exog", "groups", "exog_re", "weights"):
        given = {"exog": X, "groups": data["s"], "exog_re": X, "weights": data["z"]}
        given[other] = given[other].iloc[::-1]
        with pytest.raises(DataError, match=f"index of {other} differs"):
            design_from_arrays(data["y"], **given)


@pytest.mark.parametrize(
    "groups", [[[1], [1, 2]] * (N // 2), [{}] * N, np.zeros((N, 2))]
)
def test_groups_of_a_wrong_kind(data, groups):
    with pytest.raises(DataTypeError, match="'group' cannot be used"):
        design_from_arrays(data["y"], None, groups)


def test_a_column_of_groups_is_a_vector(data):
    column = np.arange(N)[:, None] % 5
    assert len(design_from_arrays(data["y"], None, column).terms[0].levels) == 5


def test_ragged_lists_are_errors_of_ours(data):
    ragged = [[1], [1, 2]] * (N // 2)
    design = build_design("y ~ x + (1 | b)", data)
    with pytest.raises(DataError, match="shape"):
        response_of(design, ragged)
    with pytest.raises(DataTypeError, match="subset"):
        build_design("y ~ x + (1 | b)", data, subset=ragged)
    with pytest.raises(DesignError, match="contrast matrix"):
        build_design("y ~ s + (1 | b)", data, contrasts={"s": ragged})


@pytest.mark.parametrize("argument", ["weights", "offset", "subset"])
@pytest.mark.parametrize("text, position", [("zz > 1", 0), ("z >", 3), ("lg(z)", 0)])
def test_errors_in_the_text_of_an_argument_name_it(data, argument, text, position):
    with pytest.raises(FormulaError, match=f"argument {argument} cannot") as caught:
        build_design("y ~ x + (1 | b)", data, **{argument: text})
    assert caught.value.position == position
    assert caught.value.text.startswith(text)
