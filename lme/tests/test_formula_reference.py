"""Formulas against R and lme4: hand-made cases exactly, random ones by hash.

Every number was computed by R 4.2.2 and lme4 1.1-31; the scripts are in
reference/scripts. The tolerance 1e-13 leaves room for another order of additions in
`poly`, `ns` and contrasts; indicator columns and products agree bitwise.
"""

import numpy as np
import pytest

from lme.errors import LMEError
from lme.formula import build_design
from lme.tests.formula_cases import (
    cases,
    first_random_formulas,
    frame,
    hashed,
    random_formulas,
)

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

GOOD = [case for case in cases() if case["kind"] != "error"]
BAD = [case for case in cases() if case["kind"] == "error"]


def name(case):
    return f"{case['id']} {case['formula']}"


def built(case):
    options = {"random": "allow"}
    if case["kind"] == "glFormula":
        options["family"] = "binomial"
    defaults = case.get("options_contrasts", ["contr.treatment", "contr.poly"])
    if case["contrasts"]:
        options["contrasts"] = case["contrasts"]
    elif defaults != ["contr.treatment", "contr.poly"]:
        options["contrasts"] = tuple(defaults)
    return build_design(case["formula"], frame(case["data"]), **options)


def numbers(values):
    return np.array([float(str(v).replace("Inf", "inf")) for v in values])


@pytest.mark.parametrize("case", GOOD, ids=name)
def test_fixed_part(case):
    design = built(case)
    assert list(design.column_names) == case["X"]["columns"]
    assert list(design.assign) == case["X"]["assign"]
    assert list(design.term_labels) == case["terms"]["labels"]
    assert design.dropped_rows.tolist() == case["dropped_rows0"]
    assert design.nobs == case["nobs"]
    X = np.array(case["X"]["data"], dtype=float).reshape(case["nobs"], -1)
    np.testing.assert_allclose(design.X, X, rtol=1e-13, atol=1e-13)
    y = np.array(case["y"], dtype=float)
    if y.ndim == 2:
        np.testing.assert_array_equal(design.trials, y.sum(axis=1))
        np.testing.assert_allclose(design.y * design.trials, y[:, 0], rtol=1e-15)
    else:
        # log() of an older NumPy differs in the last bit.
        np.testing.assert_allclose(design.y, y, rtol=1e-15)
    if case["offset"] is None:
        assert design.offset is None
    else:
        np.testing.assert_allclose(design.offset, case["offset"], rtol=1e-15)


@pytest.mark.parametrize("case", [c for c in GOOD if c.get("random")], ids=name)
def test_random_part(case):
    design, expected = built(case), case["random"]
    assert [len(term.levels) for term in design.terms] == expected["nl"]
    factors = [(f["name"], f["levels"], f["codes0"]) for f in expected["flist"]]
    assert factors == [
        (k, list(f.levels), f.codes.tolist()) for k, f in design.flist.items()
    ]
    assert [(c.group, list(c.columns)) for c in design.cnms] == [
        (c["group"], c["cols"]) for c in expected["cnms"]
    ]
    assert design.theta.tolist() == expected["theta"]
    assert design.lower.tolist() == numbers(expected["lower"]).tolist()
    assert design.Lind.tolist() == expected["Lind"]
    stored, Lambdat = expected["Lambdat"], design.Lambdat
    assert Lambdat.shape == tuple(stored["dim"])
    assert Lambdat.indices.tolist() == stored["indices0"]
    assert Lambdat.indptr.tolist() == stored["indptr0"]
    assert Lambdat.data.tolist() == stored["x"]
    np.testing.assert_allclose(
        design.Zt.toarray(), np.array(expected["Zt"], float), rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize("case", [c for c in GOOD if c.get("predict")], ids=name)
def test_new_data(case):
    expected = case["predict"]
    rows = built(case).new(frame(expected["newdata"]))
    np.testing.assert_allclose(
        rows.X, np.array(expected["X"], dtype=float), rtol=1e-13, atol=1e-13
    )
    if expected["offset"] is None:
        assert rows.offset is None
    else:
        np.testing.assert_allclose(rows.offset, expected["offset"], rtol=1e-14)


@pytest.mark.parametrize("case", BAD, ids=name)
def test_errors_of_R_are_errors(case):
    with pytest.raises(LMEError):
        built(case)


def test_first_random_formulas():
    """2,162 agree; the rest are errors in R, of which `(1 || g)` is read here."""
    data, wrong, agreed = frame("v_main"), [], 0
    for formula, expected in first_random_formulas():
        try:
            design = build_design(formula, data, random="allow")
        except LMEError as error:
            if not expected.startswith("ERR"):
                wrong.append((formula, str(error)))
            continue
        if expected.startswith("ERR"):
            if "||" not in formula:
                wrong.append((formula, expected))
            continue
        parts = expected.split("@")[1:]
        found = [";".join(design.column_names), ",".join(map(str, design.assign))]
        same = found == parts[:2] and close(hashed(design.X), float(parts[2]), 1e-6)
        if len(parts) > 3:
            columns = [f"{c.group} {';'.join(c.columns)}" for c in design.cnms]
            same &= "&".join(columns) == parts[3]
            same &= ",".join(map(str, design.Lind)) == parts[4]
            same &= close(hashed(design.Zt.toarray()), float(parts[5]), 1e-6)
            same &= ";".join(design.flist) == parts[6]
        agreed += same
        if not same:
            wrong.append((formula, found, parts[:3]))
    assert not wrong, wrong[:5]
    assert agreed == 2162


# What R or lme4 1.1-31 cannot do and this package does; limitations.rst lists them.
EXTENSIONS = [
    "unexpected '|'",  # (1 || g)
    "unparseable formula for grouping factor",  # (1 | (f/h)), (1 | a*b)
    "couldn't evaluate grouping factor",  # (1 | factor(k))
    "variable lengths differ",  # dummy(f) with missing values
    "has new levels",  # cut(z, 3) on new data
    "existing level",  # relevel() on new data
    "interpretable as a factor",  # C() on new data
    "not found",  # deleted terms on new data
    "rows, data has",  # a comparison of matrices
    "contrast matrix rows",  # contr.treatment(3) on new data
    "degree of freedom",
    "NA/NaN",
    "attribute on NULL",  # no fixed columns at all
]


def accident_of_lme4(formula):
    """Whether lme4's answer is not what the formula says; see limitations.rst."""
    random = "|" in formula
    # `.` stands for the columns of the model frame there, such as `log(z)`.
    dot = formula.startswith("y ~ . ") and random
    # Terms left of `||` are pasted as text, so that 0 + x > 0 is a comparison.
    pasted = "> 0)" in formula and "||" in formula
    return dot or pasted


def close(a, b, tolerance=1e-9):
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))


@pytest.mark.parametrize(
    "part, data, agreeing", [("main", "v_main", 800), ("na", "v_na", 700)]
)
def test_random_formulas(part, data, agreeing):
    wrong, agreed = [], 0
    for expected in random_formulas(part):
        formula = expected["formula"]
        if accident_of_lme4(formula):
            continue
        try:
            design = build_design(formula, frame(data), random="allow")
        except LMEError as error:
            if "error" not in expected:
                wrong.append((formula, str(error)))
            continue
        if "error" in expected:
            if not any(text in expected["error"] for text in EXTENSIONS):
                wrong.append((formula, expected["error"]))
            continue
        complaints = differences(design, expected)
        agreed += not complaints
        if complaints:
            wrong.append((formula, complaints))
    assert not wrong, (len(wrong), wrong[:5])
    assert agreed >= agreeing


def differences(design, expected):
    pairs = {
        "cols": (list(design.column_names), expected["cols"]),
        "assign": (list(design.assign), expected["assign"]),
        "n": (design.nobs, expected["n"]),
        "X": (hashed(design.X), expected["X"]),
        "offset": (
            None if design.offset is None else hashed(design.offset),
            expected["offset"],
        ),
    }
    if "labels" in expected:
        pairs["labels"] = (list(design.term_labels), expected["labels"])
    if "cnms" in expected:
        columns = [f"{c.group} {';'.join(c.columns)}" for c in design.cnms]
        levels = [f"{k} {','.join(f.levels)}" for k, f in design.flist.items()]
        pairs["cnms"] = (columns, expected["cnms"])
        pairs["flist"] = (levels, expected["flist"])
        pairs["Lind"] = (hashed(design.Lind), expected["Lind"])
        pairs["theta"] = (hashed(design.theta), expected["theta"])
        pairs["Zt"] = (hashed(design.Zt.toarray()), expected["Zt"])
    return {
        key: (mine, theirs)
        for key, (mine, theirs) in pairs.items()
        if not (
            close(mine, theirs)
            if isinstance(mine, float) and theirs is not None
            else mine == theirs
        )
    }


def test_random_formulas_on_new_data():
    new, wrong, agreed = frame("v_new"), [], 0
    for expected in random_formulas("new"):
        formula = expected["formula"]
        try:
            design = build_design(formula, frame("v_main"), random="allow")
            rows = design.new(new, random="none")
        except LMEError as error:
            if "error" not in expected:
                wrong.append((formula, str(error)))
            continue
        if "error" in expected:
            if not any(text in expected["error"] for text in EXTENSIONS):
                wrong.append((formula, expected["error"]))
            continue
        complaints = differences(design, expected)
        if not close(hashed(rows.X), expected["new"], 1e-8):
            complaints["new"] = (hashed(rows.X), expected["new"])
        agreed += not complaints
        if complaints:
            wrong.append((formula, complaints))
    assert not wrong, (len(wrong), wrong[:5])
    assert agreed >= 500
