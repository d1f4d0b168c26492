"""The functions of the formula language: R's values, identities, errors, safety.

`reference/functions.json` is made by `reference/scripts/functions.R`. Tolerances
are relative to max(1, |value|): 1e-12 where both sides compute the same thing in a
few operations, 1e-10 for polynomials, whose QR decomposition in R is the less
accurate side.
"""

import json
import pickle
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lme.errors import (
    DataTypeError,
    DataWarning,
    FormulaError,
    LMEError,
    LMEWarning,
    OptionError,
)
from lme.formula import build_design
from lme.formula.factors import conform
from lme.formula.functions import CONSTANTS, FUNCTIONS, RESERVED, as_function, register
from lme.formula.polynomials import evaluate, orthonormal
from lme.formula.values import (
    ContrastFunction,
    Factor,
    Matrix,
    as_factor,
    as_value,
    describe,
    format_number,
    missing,
    object_kind,
    rows,
    take,
)

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "functions.json").read_text()
)


quickly = settings(deadline=None, max_examples=60)


def from_json(v):
    """R's value as ours."""
    floats = [np.nan if e is None else e for e in v.get("values", ())]
    if v["type"] == "factor":
        codes = np.array([-1 if c is None else c for c in v["codes"]], dtype=np.intp)
        return Factor(codes, tuple(v["levels"]), v["ordered"])
    if v["type"] == "matrix":
        values = np.array(floats, dtype=float).reshape(v["columns"], -1).T
        return Matrix(values, None if v["names"] is None else tuple(v["names"]))
    if v["type"] == "double":
        return np.array(floats, dtype=float)
    if v["type"] == "character":
        return np.array(v["values"], dtype=object)
    kind = {"logical": bool, "integer": int}[v["type"]]
    if None not in v["values"]:
        return np.array(v["values"], dtype=kind)
    return np.array([None if e is None else kind(e) for e in v["values"]], object)


DATA = {name: from_json(v) for name, v in REFERENCE["data"].items()}
NEW = {name: from_json(v) for name, v in REFERENCE["new"].items()}


def compute(tree, data, memory, learning):
    """The value of a call stored as a nested list."""
    if "name" in tree:
        known = data if tree["name"] in data else CONSTANTS
        return known[tree["name"]]
    for key in ("string", "number", "integer"):
        if key in tree:
            return as_value(float(tree[key]) if key == "number" else tree[key])
    function = FUNCTIONS[tree["call"]]
    args, kwargs = [], {}
    for i, (node, tag) in enumerate(zip(tree["args"], tree["tags"], strict=True)):
        words = function.symbols.get(tag or i, {})
        if node.get("name") in words:
            value = words[node["name"]]
        else:
            value = compute(node, data, memory, learning)
        if tag and not function.takes_names:
            kwargs[tag] = value
        else:
            args.append(value)
    names = ()
    if function.takes_names:
        pairs = zip(tree["tags"], tree["args"], strict=True)
        names = tuple(tag or node.get("name", "") for tag, node in pairs)
    key = json.dumps(tree)
    if learning:
        memory[key], value = function.fit(args, kwargs, names)
        return value
    return function.apply(memory[key], args, kwargs, names)


def assert_close(ours, theirs, tolerance):
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    differ = (ours != theirs) & ~np.isnan(ours)
    ours, theirs = ours[differ], theirs[differ]
    error = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
    assert np.max(error, initial=0) <= tolerance


def assert_equal(ours, theirs, tolerance):
    """A value of ours against R's, in type, names and numbers."""
    if theirs["type"] == "factor":
        expected = from_json(theirs)
        assert isinstance(ours, Factor)
        assert ours.levels == expected.levels
        assert ours.codes.tolist() == expected.codes.tolist()
        assert ours.ordered == expected.ordered
        assert_coding(ours.contrasts, theirs["coding"])
    elif theirs["type"] == "matrix":
        expected = from_json(theirs)
        assert isinstance(ours, Matrix)
        numbered = tuple(map(str, range(1, ours.values.shape[1] + 1)))
        assert (ours.columns or numbered) == (expected.columns or numbered)
        assert_close(ours.values, expected.values, tolerance)
    elif theirs["type"] == "character":
        assert list(ours) == theirs["values"]
    else:
        kinds = {"b": "logical", "i": "integer", "f": "double"}
        kind = kinds.get(ours.dtype.kind) or object_kind(ours)[0]
        # Integers with missing values become doubles in arithmetic.
        assert kind == theirs["type"] or (missing(ours).any() and kind == "double")
        assert_close(
            ours, [np.nan if v is None else v for v in theirs["values"]], tolerance
        )


def assert_coding(ours, theirs):
    if theirs is None or isinstance(theirs, str):
        assert ours == (theirs and theirs.removeprefix("contr."))
        return
    matrix, names = ours
    assert_close(matrix.ravel(order="F"), theirs["values"], 1e-12)
    numbered = tuple(map(str, range(1, matrix.shape[1] + 1)))
    assert names == (tuple(theirs["names"]) if theirs["names"] else numbered)


def tolerance_of(text):
    return 1e-10 if "poly" in text else 1e-12


@pytest.mark.filterwarnings("ignore::lme.errors.DataWarning")
@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["text"])
def test_same_value_as_r(case):
    memory = {}
    ours = compute(case["tree"], DATA, memory, True)
    assert_equal(ours, case["value"], tolerance_of(case["text"]))
    if case["new"] is not None:
        later = compute(case["tree"], NEW, pickle.loads(pickle.dumps(memory)), False)
        assert_equal(later, case["new"], tolerance_of(case["text"]))


def in_a_formula(text):
    """The value of an expression, as a function of the user's gets it."""
    seen = []

    def show(value):
        seen.append(value)
        return np.arange(6.0)

    data = {"y": np.arange(6.0), "g": [1, 1, 2, 2, 3, 3]}
    build_design(f"y ~ show({text}) + (1 | g)", data, context={"show": show})
    return np.ravel(seen[0]).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seq(3)", [1, 2, 3]),
        ("seq(2, 4)", [2, 3, 4]),
        ("seq(to = 3)", [1, 2, 3]),
        ("seq(5, 5)", [5]),
        ("7:7", [7]),
        ("seq(1, 2, 3)", [1]),
        ("seq(1, 1, by = 1)", [1]),
        ("seq(1, 10, length.out = 1)", [1]),
        ("seq(1, 10, length.out = 2.5)", [1, 5.5, 10]),
        ("seq(2, by = 3, length.out = 2)", [2, 5]),
        ("seq(3, length.out = 3)", [3, 4, 5]),
        ("seq(length.out = 3)", [1, 2, 3]),
        ("seq(by = 2, length.out = 3)", [1, 3, 5]),
        ("seq(to = 10, length.out = 3)", [8, 9, 10]),
        ("seq(to = 10, by = 2, length.out = 3)", [6, 8, 10]),
    ],
)
def test_sequences_are_those_of_r(text, expected):
    assert in_a_formula(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("round(c(1250, 1350), -2)", [1200, 1400]),
        ("round(c(123.4, 1e299, -Inf), -400)", [0, 0, -np.inf]),
        ("round(123.4, 400)", [123.4]),
    ],
)
def test_numbers_are_rounded_as_in_r(text, expected):
    assert in_a_formula(text) == expected


@pytest.mark.parametrize(
    ("breaks", "digits", "levels"),
    [
        ([0, 1, 1 + 1e-12], 3, ("Range_1", "Range_2")),
        ([0, 1, 1 + 1e-11], 3, ("(0,1]", "(1,1.00000000001]")),
        ([0, 11.25, 22.25, 33], 1, ("(0,1e+01]", "(1e+01,2e+01]", "(2e+01,3e+01]")),
    ],
)
def test_labels_of_intervals_have_as_many_digits_as_in_r(breaks, digits, levels):
    arguments = {"dig.lab": np.array([digits])}
    _, cut = FUNCTIONS["cut"].fit([X, np.array(breaks, dtype=float)], arguments)
    assert cut.levels == levels


def test_factors_of_the_same_levels_are_compared():
    _, equal = FUNCTIONS["=="].fit([F, F.take(np.array([0, 2, 2, 3]))], {})
    assert equal.tolist() == [True, False, True, True]
    swapped = Factor(np.array([1, 2, 0, 0]), ("c", "a", "b"))
    _, equal = FUNCTIONS["=="].fit([F, swapped], {})
    assert equal.tolist() == [True, True, False, True]


def test_dummy_is_that_of_lme4():
    f = as_factor(np.array(["a", "b", "c", "a"], dtype=object))
    state, value = FUNCTIONS["dummy"].fit([f], {})
    assert value.columns == ("b", "c")
    assert value.values.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert FUNCTIONS["dummy"].apply(state, [f.take(np.arange(0))], {}).values.shape == (
        0,
        2,
    )
    kept = np.array(["c", "a"], dtype=object)
    _, value = FUNCTIONS["dummy"].fit([f, kept], {})
    assert value.columns == ("c", "a")
    assert value.values.tolist() == [[0, 1], [0, 0], [1, 0], [0, 1]]
    with pytest.raises(FormulaError, match="no level"):
        FUNCTIONS["dummy"].fit([f.take(np.array([0, 3])).drop_unused()], {})


def test_same_number_texts_as_r():
    ours = [format_number(float(x)) for x in REFERENCE["numbers"]]
    assert ours == REFERENCE["texts"]


def same(a, b, tolerance=1e-10):
    if isinstance(a, Factor):
        assert isinstance(b, Factor)
        assert [a.levels[c] if c >= 0 else None for c in a.codes] == [
            b.levels[c] if c >= 0 else None for c in b.codes
        ]
        assert b.levels[: len(a.levels)] == a.levels
        assert a.ordered == b.ordered
    elif isinstance(a, Matrix):
        assert a.columns == b.columns
        assert_close(a.values, b.values, tolerance)
    elif a.dtype.kind == "O":
        assert a.tolist() == b.tolist()
    else:
        assert_close(a, b, tolerance)


# A remembered scalar or vector does not have a row for each row.
ROWWISE = [
    case
    for case in REFERENCE["cases"]
    if "call" in case["tree"]
    and FUNCTIONS[case["tree"]["call"]].stateful
    and case["tree"]["call"] not in ("mean", "sd", "var", "min", "max", "median")
    and case["tree"]["call"] not in ("sum", "quantile", ":")
]


@pytest.mark.filterwarnings("ignore::lme.errors.DataWarning")
@pytest.mark.parametrize("case", ROWWISE, ids=lambda case: case["text"])
@pytest.mark.parametrize("chosen", [[0], [13, 2, 7, 2], []], ids=len)
def test_rows_do_not_depend_on_their_company(case, chosen):
    # Whatever rows come as new data, they get the values they had in training.
    memory = {}
    trained = compute(case["tree"], DATA, memory, True)
    chosen = np.array(chosen, dtype=int)
    some = {name: take(v, chosen) for name, v in DATA.items()}
    same(take(trained, chosen), compute(case["tree"], some, memory, False), 1e-9)


@pytest.mark.parametrize("depth", range(1, 4))
def test_nested_state(depth):
    # scale(scale(...(x))) on new data uses each level's own statistics.
    tree = {"name": "x"}
    for _ in range(depth):
        tree = {"call": "scale", "args": [tree], "tags": [""]}
    tree = {"call": "^", "args": [tree, {"number": 2.0}], "tags": ["", ""]}
    memory = {}
    compute(tree, DATA, memory, True)
    x = DATA["x"]
    later = compute(tree, NEW, memory, False).values[:, 0]
    expected = ((NEW["x"] - x.mean()) / x.std(ddof=1)) ** 2
    np.testing.assert_allclose(later, expected, rtol=1e-12)


# --- factors -----------------------------------------------------------------


@quickly
@given(hnp.arrays(np.int64, st.integers(0, 30), elements=st.integers(-(2**40), 2**40)))
def test_factor_of_integers(x):
    factor = as_factor(x)
    assert [factor.levels[c] for c in factor.codes] == list(map(str, x))
    assert list(factor.levels) == [str(v) for v in sorted(set(x.tolist()))]


@quickly
@given(hnp.arrays(np.float64, st.integers(0, 30)))
def test_factor_of_doubles(x):
    factor = as_factor(x)
    present = x[~np.isnan(x)]
    texts = [factor.levels[c] if c >= 0 else None for c in factor.codes]
    assert texts == [None if np.isnan(v) else format_number(v) for v in x]
    expected = dict.fromkeys(format_number(v) for v in np.sort(present))
    assert list(factor.levels) == list(expected)


@quickly
@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=20))
def test_factor_of_strings(x):
    factor = as_factor(np.array([*x, None], dtype=object)[:-1])
    assert [factor.levels[c] if c >= 0 else None for c in factor.codes] == x
    assert list(factor.levels) == sorted({v for v in x if v is not None})


def test_factor_of_equal_texts_is_merged():
    factor = as_factor(np.array([0.1 + 0.2, 0.3, 1.0]))
    assert factor.levels == ("0.3", "1")
    assert factor.codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("x", "levels", "codes"),
    [
        (np.array([True, None, False], dtype=object), ("FALSE", "TRUE"), [1, -1, 0]),
        (np.array([True, True]), ("TRUE",), [0, 0]),
        (np.array([7, None, -1], dtype=object), ("-1", "7"), [1, -1, 0]),
        (np.array([7, None, 7], dtype=object), ("7",), [0, -1, 0]),
        (np.array([100000, 5]), ("5", "100000"), [1, 0]),
        (np.array([1e5, 5.0]), ("5", "1e+05"), [1, 0]),
        (np.array([np.nan, np.inf, -np.inf]), ("-Inf", "Inf"), [-1, 1, 0]),
        (np.array([np.nan, 2.0**62, 1.0]), ("1", "4611686018427387904"), [-1, 1, 0]),
        (np.array([0, 2**62]), ("0", "4611686018427387904"), [0, 1]),
        (np.array([None, None], dtype=object), (), [-1, -1]),
        (np.array([], dtype=float), (), []),
        (np.array(["b", "B", "a"]), ("B", "a", "b"), [2, 0, 1]),
    ],
)
def test_factor_levels(x, levels, codes):
    factor = as_factor(x)
    assert factor.levels == levels
    assert factor.codes.tolist() == codes
    assert factor.codes.dtype == np.intp


def test_unused_levels_go_with_their_coding():
    factor = Factor(np.array([2, 0, -1, 2]), ("a", "b", "c"), True, "sum")
    dropped = factor.drop_unused()
    assert dropped.levels == ("a", "c")
    assert dropped.codes.tolist() == [1, 0, -1, 1]
    assert dropped.ordered
    assert dropped.contrasts is None
    assert dropped.drop_unused() is dropped


def test_new_levels_are_appended():
    factor = conform(as_factor(np.array(["z", "b"], dtype=object)), ("a", "b"))
    assert factor.levels == ("a", "b", "z")
    assert factor.codes.tolist() == [2, 1]
    for name in ("factor", "as.factor", "ordered", "droplevels", "C"):
        state, _ = FUNCTIONS[name].fit([np.array([1, 2, 3])], {})
        value = FUNCTIONS[name].apply(state, [np.array([3, 9])], {})
        assert value.levels == ("1", "2", "3", "9")
        assert value.codes.tolist() == [2, 3]


def test_closed_levels_stay_closed():
    args = [np.array([1, 2, 3]), np.array([1.0, 2.0])]
    state, value = FUNCTIONS["factor"].fit(args, {})
    assert value.codes.tolist() == [0, 1, -1]
    later = FUNCTIONS["factor"].apply(state, [np.array([9, 2]), args[1]], {})
    assert later.codes.tolist() == [-1, 1]
    assert later.levels == ("1", "2")


def test_interaction_of_many_levels_is_observed_only():
    rng = np.random.default_rng(5)
    f, g = (as_factor(rng.integers(0, 3000, 5000)) for _ in range(2))
    value = FUNCTIONS["interaction"].fit([f, g], {})[1]
    assert len(value.levels) == len(set(zip(f.codes, g.codes, strict=True)))
    rank = g.codes * 3000 + f.codes
    by_code = rank[np.argsort(value.codes, kind="stable")]
    assert (np.diff(by_code) >= 0).all()
    for i in range(0, 5000, 500):
        text = f"{f.levels[f.codes[i]]}.{g.levels[g.codes[i]]}"
        assert value.levels[value.codes[i]] == text


@quickly
@given(
    hnp.arrays(float, 20, elements=st.floats(-50, 50)),
    st.lists(st.floats(-50, 50), min_size=2, max_size=6, unique=True),
    st.booleans(),
    st.booleans(),
)
def test_cut_is_its_definition(x, breaks, right, closed):
    x = np.concatenate([x, breaks])
    options = {"right": as_value(right), "include.lowest": as_value(closed)}
    value = FUNCTIONS["cut"].fit([x, np.array(breaks)], options)[1]
    edges = np.sort(breaks)
    for v, code in zip(x, value.codes, strict=True):
        inside = (edges[:-1] < v) & (v <= edges[1:])
        if not right:
            inside = (edges[:-1] <= v) & (v < edges[1:])
        if closed and right:
            inside[0] |= v == edges[0]
        elif closed:
            inside[-1] |= v == edges[-1]
        assert code == (np.flatnonzero(inside)[0] if inside.any() else -1)


# --- numbers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "table"),
    [("&", "TFN FFF NFN".replace(" ", "")), ("|", "TTT TFN TNN".replace(" ", ""))],
)
def test_three_valued_logic(symbol, table):
    values = [True, False, None]
    a = np.array([v for v in values for _ in values], dtype=object)
    b = np.array(values * 3, dtype=object)
    result = FUNCTIONS[symbol].fit([a, b], {})[1]
    assert result.tolist() == [{"T": True, "F": False, "N": None}[c] for c in table]


def test_integers_do_not_overflow():
    big = np.array([2**62, 3])
    assert FUNCTIONS["*"].fit([big, big], {})[1].tolist() == [2.0**124, 9.0]
    assert FUNCTIONS["+"].fit([big, big], {})[1].dtype == np.float64
    small = FUNCTIONS["*"].fit([np.array([4]), np.array([5])], {})[1]
    assert small.dtype == np.int64


@quickly
@given(hnp.arrays(float, 12, elements=st.floats(-1e6, 1e6)), st.integers(1, 4))
def test_round_is_nearest(x, digits):
    value = FUNCTIONS["round"].fit([x, np.array([float(digits)])], {})[1]
    assert np.abs(value - x).max() <= 0.5 * 10.0**-digits * (1 + 1e-6)
    again = FUNCTIONS["round"].fit([value, np.array([float(digits)])], {})[1]
    np.testing.assert_array_equal(value, again)


def test_scale_is_invariant():
    rng = np.random.default_rng(2)
    x = rng.normal(1e6, 3, 200)
    x[5] = np.nan
    value = FUNCTIONS["scale"].fit([x], {})[1].values[:, 0]
    assert np.isnan(value[5])
    present = np.delete(value, 5)
    assert abs(present.mean()) < 1e-10
    assert present.std(ddof=1) == pytest.approx(1, abs=1e-12)
    moved = FUNCTIONS["scale"].fit([3 * x - 7], {})[1].values[:, 0]
    np.testing.assert_allclose(value, moved, atol=1e-8)


@pytest.mark.parametrize("degree", [1, 3, 8, 15])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_poly_is_orthonormal(degree, shift):
    x = np.random.default_rng(degree).normal(shift, 2, 60)
    state, value = FUNCTIONS["poly"].fit([x, np.array([float(degree)])], {})
    basis = np.column_stack([np.full(60, 60**-0.5), value.values])
    np.testing.assert_allclose(basis.T @ basis, np.eye(degree + 1), atol=1e-13)
    # Polynomials of degree d on d + 1 points are determined by their values there.
    t = np.linspace(x.min(), x.max(), 9)
    later = FUNCTIONS["poly"].apply(state, [t, np.array([float(degree)])], {})
    u = (t - x.mean()) / np.ptp(x)
    fitted = np.polynomial.chebyshev.chebfit(
        (x - x.mean()) / np.ptp(x), value.values, degree
    )
    np.testing.assert_allclose(
        np.polynomial.chebyshev.chebval(u, fitted).T, later.values, atol=1e-6
    )


def test_recurrence_repeats_the_basis():
    x = np.random.default_rng(0).uniform(size=500)
    state, basis = orthonormal(x, 20)
    np.testing.assert_allclose(evaluate(state, x), basis, atol=1e-12)


# --- splines -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::lme.errors.DataWarning")
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_bs_spans_polynomials_everywhere(degree):
    rng = np.random.default_rng(degree)
    x, new = rng.uniform(0, 1, 80), np.linspace(-0.5, 1.5, 21)
    options = {
        "df": np.array([degree + 4.0]),
        "degree": np.array([float(degree)]),
        "intercept": np.array([True]),
    }
    state, value = FUNCTIONS["bs"].fit([x], options)
    later = FUNCTIONS["bs"].apply(state, [new], options)
    np.testing.assert_allclose(value.values.sum(axis=1), 1, atol=1e-13)
    for power in range(degree + 1):
        weights = np.linalg.lstsq(value.values, x**power, rcond=None)[0]
        np.testing.assert_allclose(later.values @ weights, new**power, atol=1e-7)


def test_ns_is_linear_outside_and_smooth_at_the_ends():
    x = np.random.default_rng(3).uniform(0, 1, 60)
    state, _ = FUNCTIONS["ns"].fit([x, np.array([4.0])], {})
    at = lambda t: FUNCTIONS["ns"].apply(state, [np.asarray(t)], {}).values  # noqa: E731
    for end, side in [(x.min(), -1), (x.max(), 1)]:
        outside = at(end + side * np.array([0.0, 1.0, 2.0, 3.0]))
        np.testing.assert_allclose(np.diff(outside, 2, axis=0), 0, atol=1e-10)
        step = 1e-4
        inside, _, beyond = at(end + side * step * np.array([-1, 0, 1]))
        middle = at([end])[0]
        # The second derivative vanishes at the end, so the curve is straight there.
        assert np.abs(inside - 2 * middle + beyond).max() < 100 * step**3


@pytest.mark.parametrize("name", ["bs", "ns"])
def test_splines_leave_missing_rows_missing(name):
    x = np.array([0.0, np.nan, 1.0, 2.0, 5.0])
    value = FUNCTIONS[name].fit([x], {})[1].values
    assert np.isnan(value[1]).all()
    assert np.isfinite(np.delete(value, 1, axis=0)).all()
    only = FUNCTIONS[name].fit([np.delete(x, 1)], {})[1].values
    np.testing.assert_array_equal(np.delete(value, 1, axis=0), only)


def test_bs_warns_outside_its_boundary():
    state, _ = FUNCTIONS["bs"].fit([np.linspace(0, 1, 9)], {})
    with pytest.warns(DataWarning, match="outside its boundary 0 to 1"):
        FUNCTIONS["bs"].apply(state, [np.array([1.5])], {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FUNCTIONS["bs"].apply(state, [np.array([0.5, np.nan])], {})
    state, _ = FUNCTIONS["ns"].fit([np.linspace(0, 1, 9)], {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FUNCTIONS["ns"].apply(state, [np.array([1.5])], {})


@pytest.mark.parametrize("name", ["bs", "ns"])
def test_too_small_df_is_raised(name):
    with pytest.warns(DataWarning, match="At least"):
        FUNCTIONS[name].fit([np.linspace(0, 1, 9), np.array([0.0])], {})


# --- values ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        (2, "i", [2]),
        (2.5, "f", [2.5]),
        ("a", "O", ["a"]),
        (True, "b", [True]),
        ([1, None], "O", [1, None]),
        ([1.5, None], "f", None),
        (["a", None], "O", ["a", None]),
        (np.float32([1, 2]), "f", [1.0, 2.0]),
        (np.uint8([1, 2]), "i", [1, 2]),
        (np.array(["a", "b"]), "O", ["a", "b"]),
        (pd.Series([1, None], dtype="Int64"), "O", [1, None]),
        (pd.Series([1, 2], dtype="Int64"), "i", [1, 2]),
        (pd.Series([True, None], dtype="boolean"), "O", [True, None]),
        (pd.Series(["a", None], dtype="string"), "O", ["a", None]),
        (pd.Series([0.5, 1.5]), "f", [0.5, 1.5]),
    ],
)
def test_as_value(given, kind, expected):
    value = as_value(given)
    assert value.dtype.kind == kind
    if expected is not None:
        assert value.tolist() == expected


def test_as_value_of_structures():
    factor = as_value(pd.Series(pd.Categorical([2, 1, None], [2, 1], ordered=True)))
    assert isinstance(factor, Factor)
    assert (factor.levels, factor.ordered) == (("2", "1"), True)
    assert factor.codes.tolist() == [0, 1, -1]
    frame = as_value(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))
    assert frame.columns == ("a", "b")
    assert as_value(np.zeros((3, 2))).values.shape == (3, 2)
    assert as_value(None) is None
    for wrong in (object(), {1: 2}, np.zeros((2, 2, 2)), [[1, 2], ["a"]], 1j, [1, "a"]):
        with pytest.raises(DataTypeError):
            as_value(wrong)


def test_constants():
    assert set(CONSTANTS) >= RESERVED
    assert CONSTANTS["NA"].tolist() == [None]
    assert CONSTANTS["NULL"] is None
    assert CONSTANTS["contr.sum"] == ContrastFunction("sum")


# --- errors ------------------------------------------------------------------

X = np.array([1.0, 2.0, 3.0, 4.0])
F = as_factor(np.array(["a", "b", "a", "c"], dtype=object))
ONE, TEXT = np.array([1.0]), np.array(["a"], dtype=object)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "message"),
    [
        ("log", [F], {}, "a factor with 3 levels. A number was expected"),
        ("log", [TEXT], {}, "the string 'a'"),
        ("log", [], {}, "without its argument 'x'"),
        ("log", [X, ONE, ONE], {}, "got 3 arguments. It takes at most 2: x, base"),
        ("log", [X], {"bse": ONE}, "no argument 'bse'.*Did you mean 'base'"),
        ("poly", [X], {"deg": ONE, "degree": ONE}, "'degree' twice|no argument"),
        ("scale", [X], {"c": ONE, "center": ONE}, "'center' twice"),
        ("+", [X, X[:3]], {}, r"lengths \[3, 4\]"),
        ("<", [F, TEXT], {}, "unordered factor.*ordered"),
        ("ifelse", [X, F, ONE], {}, "branch of ifelse"),
        ("poly", [np.array([1, np.nan, 2]), ONE], {}, "missing.*raw = TRUE"),
        ("poly", [X, np.array([4.0])], {}, "degree 4 for 4 distinct values.*most 3"),
        ("poly", [X, np.array([0.0])], {}, "degree 0"),
        ("bs", [X * np.nan], {}, "no values that are not missing"),
        ("bs", [X * 0], {}, "all 0"),
        ("bs", [X], {"knots": np.array([9.0])}, "knots outside its boundary 1 to 4"),
        ("ns", [X], {"Boundary.knots": ONE}, "1 Boundary.knots"),
        ("ns", [X * np.inf], {}, "infinite"),
        ("cut", [X, ONE], {}, "breaks = 1.*between 2"),
        ("cut", [X, np.array([1.0, 1.0])], {}, "same break twice"),
        ("cut", [X, np.array([3.0])], {"labels": TEXT}, "1 labels for 3 intervals"),
        ("relevel", [F, np.array(["d"], dtype=object)], {}, "not a level.*a, b, c"),
        ("relevel", [F, np.array([4.0])], {}, "must be in 1 to 3"),
        ("factor", [F], {"labels": X}, "4 labels for 3 levels"),
        ("C", [F, np.array(["contr.som"], dtype=object)], {}, "Did you mean 'sum'"),
        ("dummy", [F, np.array(["d"], dtype=object)], {}, "not a level"),
        ("interaction", [F, F.take(np.array([0]))], {}, "different lengths"),
        ("seq", [ONE, X[2:3], -ONE], {}, "cannot reach 3 from 1 in steps of -1"),
        ("seq", [ONE, X[2:3], ONE * 0], {}, "cannot reach"),
        ("seq", [X[2:3]], {"by": ONE}, "cannot reach 1 from 3"),
        ("seq", [ONE, ONE, ONE, ONE], {}, "three of them"),
        ("seq", [ONE], {"length.out": ONE * 0}, "0 elements"),
        ("scale", [X], {"center": X}, "4 values in 'center'"),
        ("round", [X, ONE * 3e9], {}, "whole number"),
        ("==", [F, F.take(np.array([0])).drop_unused()], {}, "different levels"),
        ("quantile", [np.array([1, np.nan])], {}, "na.rm = TRUE"),
    ],
)
def test_errors_say_what_is_wrong(name, args, kwargs, message):
    with pytest.raises(LMEError, match="(?s)" + message):
        FUNCTIONS[name].fit(args, kwargs)


HUGE = np.array([1e9])


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        (":", [ONE, HUGE], {}),
        ("seq", [ONE, HUGE, np.array([1e-3])], {}),
        ("seq", [ONE], {"length.out": HUGE}),
        ("poly", [X, HUGE], {"raw": np.array([True])}),
        ("bs", [X, HUGE], {}),
        ("bs", [X], {"degree": HUGE}),
        ("ns", [X, HUGE], {}),
        ("cut", [X, HUGE], {}),
        ("contr.poly", [HUGE], {}),
        ("contr.treatment", [HUGE], {}),
        ("C", [F, ContrastFunction("sum"), HUGE], {}),
        ("poly", [Matrix(np.ones((4, 40)))], {"degree": np.array([3.0])}),
        ("fulldummy", [as_factor(np.arange(20_000))], {}),
    ],
)
def test_enormous_requests_are_refused_at_once(name, args, kwargs):
    start = time.perf_counter()
    with pytest.raises(LMEError):
        FUNCTIONS[name].fit(args, kwargs)
    assert time.perf_counter() - start < 1


def odd_values(n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    return [
        x,
        np.where(np.arange(n) == 3, np.nan, x),
        rng.integers(-3, 4, n),
        x > 0,
        np.array([None, True, False] * (n // 3), dtype=object),
        np.array([None, 1, 5] * (n // 3), dtype=object),
        np.array(["a", "b", None] * (n // 3), dtype=object),
        as_factor(np.array(["a", "b", "c"] * (n // 3), dtype=object)),
        Factor(np.array([0, 1, -1] * (n // 3)), ("lo", "hi"), True),
        Factor(np.full(n, -1), ()),
        Matrix(rng.normal(size=(n, 2)), ("p", "q")),
        Matrix(rng.normal(size=(n, 1))),
        Matrix(np.zeros((n, 0))),
        np.full(n, np.nan),
        x * np.inf,
        np.zeros(n),
        np.full(n, 2**62),
        None,
        ContrastFunction("sum"),
        *(np.array([v]) for v in (2.0, 3, 0.0, -1.0, 7.5, np.nan, 1e300, np.inf, 1e9)),
        *(np.array([v]) for v in (True, False, 2**62, 5000.0)),
        *(np.array(v, dtype=object) for v in (["a"], ["contr.sum"], [None], [])),
        np.array([1.0, 2.0]),
        np.array([]),
    ]


BUILT_IN = [name for name in FUNCTIONS if FUNCTIONS[name].parameters is not None]


@pytest.mark.parametrize("name", BUILT_IN)
def test_anything_gives_a_value_or_an_error_of_ours(name):
    function, pool = FUNCTIONS[name], odd_values(12)
    rng = np.random.default_rng(len(name))
    named = [p for p in function.parameters if p != "..."]
    for _ in range(60):
        args = [pool[i] for i in rng.integers(0, len(pool), rng.integers(0, 4))]
        kwargs = {}
        if named and not function.takes_names and rng.random() < 0.5:
            kwargs[named[rng.integers(len(named))]] = pool[rng.integers(len(pool))]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", LMEWarning)
            try:
                state, value = function.fit(args, kwargs)
                first = [take(v, np.arange(1)) if rows(v) == 12 else v for v in args]
                function.apply(pickle.loads(pickle.dumps(state)), first, kwargs)
            except LMEError as error:
                assert len(str(error)) > 10
                continue
        if value is None:
            assert name == "c"  # R's c() is NULL
        elif isinstance(value, np.ndarray):
            assert value.ndim == 1
            assert value.dtype in (np.float64, np.int64, np.bool_, np.object_)
        else:
            assert isinstance(value, (Factor, Matrix, ContrastFunction))
        assert describe(value)


# --- one's own ---------------------------------------------------------------


class Share:
    """Values as a share of the training total, optionally to a power."""

    def fit(self, x, power=1):
        return {"total": float(np.sum(x))}

    def apply(self, state, x, power=1):
        return (x / state["total"]) ** power


@pytest.fixture
def share():
    register("my.share", Share)
    yield FUNCTIONS["my.share"]
    del FUNCTIONS["my.share"]


def test_registered_transform_remembers(share):
    state, value = share.fit([X], {"power": np.array([2.0])})
    np.testing.assert_allclose(value, (X / 10) ** 2)
    later = share.apply(pickle.loads(pickle.dumps(state)), [ONE * 5], {})
    assert later.tolist() == [0.5]
    register("my.share", Share())  # again is no error


@pytest.mark.parametrize("name", ["log", "TRUE", "1x", "a b", "", "__import__", "a(b"])
def test_names_that_cannot_be_registered(name):
    with pytest.raises(OptionError):
        register(name, Share)
    assert name not in FUNCTIONS or FUNCTIONS[name].parameters is not None


def test_things_that_cannot_be_registered():
    with pytest.raises(OptionError, match="fit and apply"):
        register("half", object())


def test_functions_of_the_context():
    seen = []

    def clip(x, low, f):
        seen.append((type(low), type(f)))
        x[:] = np.maximum(x, low)
        return pd.Series(x)

    x = X.copy()
    function = as_function("clip", clip)
    state, value = function.fit([x, np.array([2.0]), F], {})
    assert value.tolist() == [2, 2, 3, 4]
    assert x.tolist() == X.tolist()  # the data are not the function's to change
    assert seen == [(float, pd.Categorical)]
    row = np.array([0])
    later = function.apply(state, [x[:1], np.array([2.0]), F.take(row)], {})
    assert later.tolist() == [2]


def test_errors_of_user_code_are_ours():
    function = as_function("broken", lambda x: x.nothing)
    with pytest.raises(FormulaError, match=r"broken\(\) raised AttributeError"):
        function.fit([X], {})
    with pytest.raises(DataTypeError):
        as_function("odd", lambda x: object()).fit([X], {})
